"""Figures of merit with uncertainties, and the paired comparison of designs."""

from tomopt_tasks.core import lazy_exports

_HERE = "tomopt_tasks.evaluation"

__all__ = [
    "EvaluationSettings",
    "LinearCalibration",
    "Merit",
    "PairedRatio",
    "Predictions",
    "TargetRow",
    "evaluate",
    "exposure_curve",
    "figures_of_merit",
    "fit_calibration",
    "paired_ratio",
    "seconds_to_reach",
    "target_groups",
    "volumes_to_separate",
]

__getattr__ = lazy_exports(
    _HERE,
    {
        "EvaluationSettings": f"{_HERE}.settings",
        "LinearCalibration": f"{_HERE}.calibration",
        "Merit": f"{_HERE}.merit",
        "PairedRatio": f"{_HERE}.paired",
        "Predictions": f"{_HERE}.predictions",
        "TargetRow": f"{_HERE}.merit",
        "evaluate": f"{_HERE}.record",
        "exposure_curve": f"{_HERE}.exposure",
        "figures_of_merit": f"{_HERE}.merit",
        "fit_calibration": f"{_HERE}.calibration",
        "paired_ratio": f"{_HERE}.paired",
        "seconds_to_reach": f"{_HERE}.exposure",
        "target_groups": f"{_HERE}.merit",
        "volumes_to_separate": f"{_HERE}.paired",
    },
)
