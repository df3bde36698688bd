"""Predictions that are made from the radiation lengths of the voxels."""

from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Flag, Number, PositiveNumber


class UnbiasedX0Settings(Config):
    """Radiation lengths without bias (D-06, D-22); see ``inference/x0_map.py``."""

    kind: Literal["unbiased"] = "unbiased"
    """Name of this method."""
    weights: Literal["expected", "plain"] = "expected"
    """``plain``: acceptance only. ``expected``: also the variance that the power of the muon is
    expected to have at the mean density of its volume, so that badly measured muons count less and
    the imaginary ones bound what they can do; both are equal for perfect hits."""
    share: Literal["path", "voxel"] = "path"
    """Where a muon scattered: along its path through uniform matter, or all in one voxel."""
    prior_muons: PositiveNumber = 1.0
    """Imaginary muons per voxel that saw the mean density of the volume; > 0. With fewer than
    noise would need, a voxel that nobody looks at errs less than one that is measured."""
    log_term: Flag = True
    """Undo the logarithmic factor of Highland's formula."""
    subtract_resolution: Flag = True
    """Subtract the angle that the hit resolution makes."""


class TomOptX0Settings(Config):
    """Compat: TomOpt's inversion, whose lengths come out 2.0 to 2.6 times too large (D-06)."""

    kind: Literal["tomopt"] = "tomopt"
    """Name of this method."""


X0MethodSettings = Annotated[UnbiasedX0Settings | TomOptX0Settings, Field(discriminator="kind")]
"""How scattering is turned into radiation lengths."""

Step = Literal[
    "remove_ladle",
    "avg_3d",
    "gauss_3d",
    "avg_layers",
    "avg_1d",
    "gauss_1d",
    "ridge_1d_0",
    "ridge_1d_2",
    "ridge_1d_4",
    "ridge_1d_8",
    "prewit_1d",
    "laplacian_1d",
    "negative",
    "max_sub_min",
    "max_div_min",
]
"""A step of the search for an edge."""


class FromX0(Config):
    """What all inferrers that look at radiation lengths have in common."""

    acceptance: Literal["two_each_side", "all_panels"] = "two_each_side"
    """A muon counts with at least two hits on each side, or only if all panels see it."""
    track_fit: Literal["centred", "float32"] = "centred"
    """Lines by sums about the mean height, or in single precision about the floor of the world;
    the latter is compat: TomOpt."""
    method: X0MethodSettings = UnbiasedX0Settings()
    """From scattering to radiation lengths."""


class VoxelX0Settings(FromX0):
    """Radiation length of every voxel by inverting the scattering formula (spec 5.4)."""

    kind: Literal["voxel_x0"] = "voxel_x0"
    """Name of this inferrer."""
    error_of: Literal["x0", "density"] = "x0"
    """What errors of voxels are of: radiation lengths [m], or scattering densities 1 / X0 [1/m].
    Noise makes tails of radiation lengths, so that who looks away errs less; densities follow the
    scattering in proportion. With few muons a voxel, ``prior_muons`` must be many for the same."""


class VoxelClassSettings(FromX0):
    """Material of every voxel: the likelier, the nearer its radiation length is."""

    kind: Literal["voxel_class"] = "voxel_class"
    """Name of this inferrer."""
    materials: tuple[str, ...] = Field(default=("beryllium", "lead"), min_length=2)
    """Classes: materials (names of the material table) of different radiation lengths."""
    width: PositiveNumber = 0.5
    """Standard deviation of the logarithm of a predicted radiation length; > 0."""


class DenseBlockSettings(FromX0):
    """Whether there is a block that is denser than the rest, as a number in (0, 1) (spec 5.5)."""

    kind: Literal["dense_block"] = "dense_block"
    """Name of this inferrer."""
    voxels: Count = 12
    """Voxels of the block; >= 1, fewer than the volume has."""
    average: Flag = True
    """Average each voxel with its neighbours first."""
    cut: PositiveNumber = 1e4
    """Sharpness of the cut between block and rest [1/m]; > 0."""
    offset: Number = -1.0
    """Added to the contrast, so that it is zero where block and rest cannot be told apart."""
    slope: PositiveNumber = 1.0
    """Steepness of the answer; > 0."""


class EdgeDetectorSettings(FromX0):
    """Fill height of a ladle from the edge in the radiation lengths of its layers (spec 5.8)."""

    kind: Literal["edge_detector"] = "edge_detector"
    """Name of this inferrer."""
    pipeline: tuple[Step, ...] = Field(
        default=(
            "remove_ladle",
            "avg_3d",
            "avg_layers",
            "avg_1d",
            "ridge_1d_0",
            "negative",
            "max_div_min",
        ),
        min_length=1,
    )
    """Steps from radiation lengths to a score of each layer; one must average the layers."""
