"""What a fit minimises."""

from tomopt_tasks.core import lazy_exports

__all__ = [
    "AbsDetectorLoss",
    "AbsMaterialClassLoss",
    "LadleFurnaceIntClassLoss",
    "LossSettings",
    "SpreadRangeLossSettings",
    "VolumeClassLoss",
    "VolumeIntClassLoss",
    "VolumeMSELoss",
    "VolumeMSELossSettings",
    "VoxelClassLoss",
    "VoxelX0Loss",
    "VoxelX0LossSettings",
    "budget_coef",
    "calibrated_mse",
    "integer_class_loss",
    "spread_over_range",
]

_HERE = "tomopt_tasks.losses"

__getattr__ = lazy_exports(
    _HERE,
    {
        "AbsDetectorLoss": f"{_HERE}.base",
        "AbsMaterialClassLoss": f"{_HERE}.voxels",
        "LadleFurnaceIntClassLoss": f"{_HERE}.ladle",
        "LossSettings": f"{_HERE}.settings",
        "SpreadRangeLossSettings": f"{_HERE}.settings",
        "VolumeClassLoss": f"{_HERE}.volumes",
        "VolumeIntClassLoss": f"{_HERE}.volumes",
        "VolumeMSELoss": f"{_HERE}.volumes",
        "VolumeMSELossSettings": f"{_HERE}.settings",
        "VoxelClassLoss": f"{_HERE}.voxels",
        "VoxelX0Loss": f"{_HERE}.voxels",
        "VoxelX0LossSettings": f"{_HERE}.settings",
        "budget_coef": f"{_HERE}.base",
        "calibrated_mse": f"{_HERE}.spread",
        "integer_class_loss": f"{_HERE}.integers",
        "spread_over_range": f"{_HERE}.spread",
    },
)
