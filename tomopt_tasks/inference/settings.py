"""How a prediction about a volume is made from the scattering of its muons."""

from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.inference.x0_settings import DenseBlockSettings, EdgeDetectorSettings
from tomopt_tasks.own import OwnPart
from tomopt_tasks.quantities import Flag, PositiveNumber


class PocaZFillLevelSettings(Config):
    """Fill height of a ladle from the mean height of the points of closest approach (spec 5.8)."""

    kind: Literal["poca_z_fill_level"] = "poca_z_fill_level"
    """Name of this inferrer."""
    smooth: PositiveNumber = 1.0
    """Softness of the weight that favours the centre of the volume, in half-widths; > 0."""
    acceptance: Literal["two_each_side", "all_panels"] = "two_each_side"
    """A muon counts with at least two hits on each side, or only if all panels see it."""
    track_fit: Literal["centred", "float32"] = "centred"
    """Lines by sums about the mean height, or in single precision about the floor of the world;
    the latter is compat: TomOpt."""
    detach_quantiles: Flag = False
    """Treat the clipping quantiles as constants; true is compat: TomOpt."""
    weighted_quantiles: Flag = True
    """Muons count in the quantiles with their acceptance; false is compat: TomOpt."""


class VoxelX0Settings(Config):
    """Radiation length of every voxel by inverting the scattering formula (spec 5.4)."""

    kind: Literal["voxel_x0"] = "voxel_x0"
    """Name of this inferrer."""
    acceptance: Literal["two_each_side", "all_panels"] = "two_each_side"
    """A muon counts with at least two hits on each side, or only if all panels see it."""
    track_fit: Literal["centred", "float32"] = "centred"
    """Lines by sums about the mean height, or in single precision about the floor of the world;
    the latter is compat: TomOpt."""


class OwnInferenceSettings(OwnPart):
    """An inferrer of the user's own; written as ``kind: my_module:MyInferrer``."""

    predicts: Literal["number", "voxels"] = "number"
    """One number a volume, or the radiation length of every voxel [m]."""
    acceptance: Literal["two_each_side", "all_panels"] = "two_each_side"
    """A muon counts with at least two hits on each side, or only if all panels see it."""
    track_fit: Literal["centred", "float32"] = "centred"
    """Lines by sums about the mean height, or in single precision about the floor of the world;
    the latter is compat: TomOpt."""


InferenceSettings = Annotated[
    PocaZFillLevelSettings
    | VoxelX0Settings
    | DenseBlockSettings
    | EdgeDetectorSettings
    | OwnInferenceSettings,
    Field(discriminator="kind"),
]
"""Any volume inferrer."""


def predicts_voxels(settings: InferenceSettings) -> bool:
    """Whether predictions are radiation lengths of voxels, and not one number a volume."""
    own = isinstance(settings, OwnInferenceSettings) and settings.predicts == "voxels"
    return own or isinstance(settings, VoxelX0Settings)
