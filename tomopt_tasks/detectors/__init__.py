"""Panels, heat maps, layers, cost and budget."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "GMM",
    "AbsDetectorLayer",
    "DetectorHeatMap",
    "DetectorPanel",
    "DetectorSettings",
    "Hits",
    "LayerSettings",
    "Lines",
    "PanelDetectorLayer",
    "PanelSettings",
    "PanelStack",
    "SigmoidDetectorPanel",
    "separate",
]

_HERE = "tomopt_tasks.detectors"

__getattr__ = lazy_exports(
    _HERE,
    {
        "GMM": f"{_HERE}.heatmap",
        "AbsDetectorLayer": f"{_HERE}.layer",
        "DetectorHeatMap": f"{_HERE}.heatmap",
        "DetectorPanel": f"{_HERE}.panel",
        "DetectorSettings": f"{_HERE}.settings",
        "Hits": f"{_HERE}.hits",
        "LayerSettings": f"{_HERE}.settings",
        "Lines": f"{_HERE}.hits",
        "PanelDetectorLayer": f"{_HERE}.layer",
        "PanelSettings": f"{_HERE}.settings",
        "PanelStack": f"{_HERE}.hits",
        "SigmoidDetectorPanel": f"{_HERE}.panel",
        "separate": f"{_HERE}.separation",
    },
)
