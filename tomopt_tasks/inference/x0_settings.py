"""Predictions that are made from the radiation lengths of the voxels."""

from typing import Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Flag, Number, PositiveNumber

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


class _FromX0(Config):
    acceptance: Literal["two_each_side", "all_panels"] = "two_each_side"
    """A muon counts with at least two hits on each side, or only if all panels see it."""
    track_fit: Literal["centred", "float32"] = "centred"
    """Lines by sums about the mean height, or in single precision about the floor of the world;
    the latter is compat: TomOpt."""


class DenseBlockSettings(_FromX0):
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


class EdgeDetectorSettings(_FromX0):
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
