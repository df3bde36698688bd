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
    "get_baseline_detector_1",
    "get_baseline_detector_2",
    "get_initial_detector",
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
        "get_baseline_detector_1": f"{_HERE}.ladle",
        "get_baseline_detector_2": f"{_HERE}.ladle",
        "get_initial_detector": f"{_HERE}.ladle",
        "separate": f"{_HERE}.separation",
    },
)
