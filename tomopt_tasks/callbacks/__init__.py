"""Callbacks: what looks at, schedules and guards a fit; the loop runs them in the list's order.

Order (spec 9.12): metrics and warm-ups; ``MuonResampler``; callbacks that alter predictions, then
the loss (``LinearCorrectionCallback``, ``SpreadRangeLoss``); ``DivergenceGuard``; records of
gradients, then ``NoMoreNaNs``; limits and ties; schedules; stopping, keeping and saving; loggers;
the handler of predictions last.
"""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "AbsOptSchedule",
    "BatchCost",
    "BatchLoss",
    "BestKeeper",
    "CalibratedRMSE",
    "Callback",
    "CostCoefWarmup",
    "CyclicCallback",
    "DivergenceGuard",
    "EarlyStopping",
    "EpochSave",
    "EvalMetric",
    "ExpectedMSELoss",
    "FitParams",
    "GradientRecord",
    "HeatMapGif",
    "History",
    "HitRecord",
    "LinearCorrectionCallback",
    "MetricLogger",
    "MuonResampler",
    "NoMoreNaNs",
    "OneCycle",
    "OptConfig",
    "PanelCentring",
    "PanelMetricLogger",
    "PanelUpdateLimiter",
    "PostWarmupCallback",
    "PredHandler",
    "RelativeSchedule",
    "Save2HDF5PredHandler",
    "ScatterRecord",
    "SigmoidPanelSmoothnessSchedule",
    "SpreadRangeLoss",
    "TieGradients",
    "VolumeTargetPredHandler",
    "WarmupCallback",
]

_HERE = "tomopt_tasks.callbacks"

__getattr__ = lazy_exports(
    _HERE,
    {
        "AbsOptSchedule": f"{_HERE}.schedules",
        "BatchCost": f"{_HERE}.cost",
        "BatchLoss": f"{_HERE}.ladle",
        "BestKeeper": f"{_HERE}.stopping",
        "CalibratedRMSE": f"{_HERE}.metrics",
        "Callback": f"{_HERE}.base",
        "CostCoefWarmup": f"{_HERE}.warmup",
        "CyclicCallback": f"{_HERE}.cyclic",
        "DivergenceGuard": f"{_HERE}.stopping",
        "EarlyStopping": f"{_HERE}.stopping",
        "EpochSave": f"{_HERE}.saving",
        "EvalMetric": f"{_HERE}.metrics",
        "ExpectedMSELoss": f"{_HERE}.ladle",
        "FitParams": f"{_HERE}.base",
        "GradientRecord": f"{_HERE}.nonfinite",
        "HeatMapGif": f"{_HERE}.heatmap_gif",
        "History": f"{_HERE}.history",
        "HitRecord": f"{_HERE}.records",
        "LinearCorrectionCallback": f"{_HERE}.ladle",
        "MetricLogger": f"{_HERE}.monitors",
        "MuonResampler": f"{_HERE}.resampler",
        "NoMoreNaNs": f"{_HERE}.gradients",
        "OneCycle": f"{_HERE}.schedules",
        "OptConfig": f"{_HERE}.warmup",
        "PanelCentring": f"{_HERE}.detector",
        "PanelMetricLogger": f"{_HERE}.monitors",
        "PanelUpdateLimiter": f"{_HERE}.detector",
        "PostWarmupCallback": f"{_HERE}.warmup",
        "PredHandler": f"{_HERE}.predictions",
        "RelativeSchedule": f"{_HERE}.schedules",
        "Save2HDF5PredHandler": f"{_HERE}.predictions",
        "ScatterRecord": f"{_HERE}.records",
        "SigmoidPanelSmoothnessSchedule": f"{_HERE}.schedules",
        "SpreadRangeLoss": f"{_HERE}.ladle",
        "TieGradients": f"{_HERE}.detector",
        "VolumeTargetPredHandler": f"{_HERE}.predictions",
        "WarmupCallback": f"{_HERE}.warmup",
    },
)
