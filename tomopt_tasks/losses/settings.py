"""What a fit minimises: an error of the predictions, and optionally the cost of the detector."""

from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.own import OwnPart
from tomopt_tasks.quantities import Flag, Number, PositiveNumber


class _Loss(Config):
    target_budget: PositiveNumber | None = None
    """Cost that a free detector should have; > 0; null: no cost term (the budget is fixed)."""
    budget_smoothing: PositiveNumber = 10.0
    """Sharpness of the cost term around the target budget; > 0."""
    cost_coef: PositiveNumber | None = None
    """Weight of the cost term, in units of the error; > 0; null: the first error."""
    steep_budget: Flag = True
    """Cost grows linearly above the target budget instead of saturating."""


class SpreadRangeLossSettings(_Loss):
    """Spread of the predictions at equal target over their range across targets (spec 9.10)."""

    kind: Literal["spread_range"] = "spread_range"
    """Name of this loss."""
    correct: Flag = False
    """Apply the best linear correction before the loss; this loss does not change by it."""


class ExpectedMSELossSettings(Config):
    """Logarithm of the error to expect after the best linear correction, with little noise.

    The spread of the predictions comes from the scatter of the muons within each volume, not from
    the few volumes of a step; the inferrer must know the variance of its predictions.
    """

    kind: Literal["expected_mse"] = "expected_mse"
    """Name of this loss."""


class VolumeMSELossSettings(_Loss):
    """Mean squared error of one number per volume."""

    kind: Literal["volume_mse"] = "volume_mse"
    """Name of this loss."""
    correct: Flag = True
    """Apply the best linear correction of the scan, in closed form, before the error."""


class VoxelX0LossSettings(_Loss):
    """Mean squared error over all voxels of radiation length [m2] or scattering density [1/m2]."""

    kind: Literal["voxel_x0"] = "voxel_x0"
    """Name of this loss."""
    of: Literal["x0", "density"] | None = None
    """Radiation lengths, or scattering densities 1 / X0; null: as ``inference.error_of``."""


class VoxelClassLossSettings(_Loss):
    """Negative log likelihood of the material of every voxel; classes are the inferrer's."""

    kind: Literal["voxel_class"] = "voxel_class"
    """Name of this loss."""
    materials: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Materials of the classes, in the order of the inferrer; a voxel counts as the one of nearest
    radiation length; null: those of ``inference.materials``."""


class VolumeClassLossSettings(_Loss):
    """Negative log likelihood of the class of a volume."""

    kind: Literal["volume_class"] = "volume_class"
    """Name of this loss."""
    targets: tuple[Number, ...] | None = Field(default=None, min_length=2)
    """Targets of the classes, in the unit of the target; others count as the nearest one; null: 0
    and 1, or those of ``inference.targets``."""


class VolumeIntClassLossSettings(_Loss):
    """Distance of consecutive integers from the true one, weighted with their probabilities."""

    kind: Literal["volume_int_class"] = "volume_int_class"
    """Name of this loss."""
    first: Number | None = None
    """Target of the first integer, in the unit of the target; null: that of the inferrer."""
    step: PositiveNumber | None = None
    """Target of the next integer minus that of the one before; > 0; null: that of the
    inferrer."""
    squared: Flag = True
    """Squared distances instead of absolute ones."""


class LadleLayerLossSettings(_Loss):
    """Distance of the layer in which the fill of a ladle ends, weighted with its probability."""

    kind: Literal["ladle_layer"] = "ladle_layer"
    """Name of this loss."""
    squared: Flag = True
    """Squared distances instead of absolute ones."""


class OwnLossSettings(OwnPart):
    """A loss of the user's own; written as ``kind: my_module:MyLoss`` beside its options."""


LossSettings = Annotated[
    SpreadRangeLossSettings
    | ExpectedMSELossSettings
    | VolumeMSELossSettings
    | VoxelX0LossSettings
    | VoxelClassLossSettings
    | VolumeClassLossSettings
    | VolumeIntClassLossSettings
    | LadleLayerLossSettings
    | OwnLossSettings,
    Field(discriminator="kind"),
]
"""Any loss."""
