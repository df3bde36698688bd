"""Cosmic muons: flux models, aimed sources, and the batch of the notebook interface."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "AbsMuonGenerator",
    "GenerationPlane",
    "IncidentMuons",
    "MuonBatch",
    "MuonGenerator2015",
    "MuonGenerator2016",
    "MuonSettings",
    "PencilBeam",
    "SourceSettings",
    "TableSettings",
    "crosses_box",
    "flux_rate",
    "generation_rate",
    "incident_muons",
    "read_muon_table",
    "table_muons",
]

_HERE = "tomopt_tasks.muons"

__getattr__ = lazy_exports(
    _HERE,
    {
        "AbsMuonGenerator": f"{_HERE}.generators",
        "MuonBatch": f"{_HERE}.batch",
        "MuonGenerator2015": f"{_HERE}.generators",
        "MuonGenerator2016": f"{_HERE}.generators",
        "GenerationPlane": f"{_HERE}.settings",
        "IncidentMuons": f"{_HERE}.source",
        "MuonSettings": f"{_HERE}.settings",
        "PencilBeam": f"{_HERE}.beam",
        "SourceSettings": f"{_HERE}.settings",
        "TableSettings": f"{_HERE}.settings",
        "crosses_box": f"{_HERE}.aim",
        "flux_rate": f"{_HERE}.source",
        "generation_rate": f"{_HERE}.source",
        "incident_muons": f"{_HERE}.source",
        "read_muon_table": f"{_HERE}.table",
        "table_muons": f"{_HERE}.table",
    },
)
