"""How a prediction about a volume is made from the scattering of its muons."""

from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.inference.x0_settings import (
    DenseBlockSettings,
    EdgeDetectorSettings,
    VoxelClassSettings,
    VoxelX0Settings,
)
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
    | VoxelClassSettings
    | DenseBlockSettings
    | EdgeDetectorSettings
    | LearnedSettings
    | OwnInferenceSettings,
    Field(discriminator="kind"),
]
"""Any volume inferrer."""


def judged_by_density(inference: InferenceSettings) -> bool:
    """Whether errors of voxels are of scattering densities [1/m] and not of lengths [m]."""
    return getattr(inference, "error_of", "x0") == "density" and predicted(inference) == "x0"


def predicted(inference: InferenceSettings) -> Literal["number", "x0", "voxel_class"]:
    """What is said of a volume: a number, or radiation lengths or classes of its voxels."""
    if isinstance(inference, VoxelX0Settings):
        return "x0"
    if isinstance(inference, VoxelClassSettings):
        return "voxel_class"
    if isinstance(inference, LearnedSettings) and inference.predicts in ("x0", "voxel_class"):
        return inference.predicts
    own = isinstance(inference, OwnInferenceSettings) and inference.predicts == "voxels"
    return "x0" if own else "number"
