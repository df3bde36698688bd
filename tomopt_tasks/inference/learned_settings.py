"""Settings of the network that learns to read scattering together with the detector."""

from typing import Literal

from pydantic import Field

from tomopt_tasks.inference.x0_settings import FromX0
from tomopt_tasks.quantities import Count, Number, PositiveNumber

Feature = Literal[
    "total_scatter",
    "resolution",
    "delta_angles",
    "track_angles",
    "track_xy",
    "poca",
    "poca_unc",
]
"""A group of numbers that each muon brings."""


class LearnedSettings(FromX0):
    """A small network that sees the map of radiation lengths and the muons (spec 5.7).

    It learns in the fit, by the optimiser ``model``, and is part of every checkpoint. A design
    other than the fitted one is judged with a network that was trained for it alike, its panels
    standing still.
    """

    kind: Literal["learned"] = "learned"
    """Name of this inferrer."""
    predicts: Literal["number", "classes", "integers", "x0", "voxel_class"] = "number"
    """One number a volume; the class of a volume, or one of consecutive integers, both by the
    probabilities of ``targets``; the radiation length, or the material, of every voxel."""
    targets: tuple[Number, ...] = Field(default=(0.0, 1.0), min_length=2)
    """Targets that classes or integers stand for, ascending; integers: at equal distances."""
    materials: tuple[str, ...] = Field(default=("beryllium", "lead"), min_length=2)
    """Materials of voxels (names of the material table); read for ``voxel_class``."""
    class_width: PositiveNumber = 0.5
    """Standard deviation of the logarithm of a radiation length; > 0; read for ``voxel_class``."""
    error_of: Literal["x0", "density"] = "x0"
    """What errors of voxels are of, with ``x0``: radiation lengths [m], or
    scattering densities 1 / X0 [1/m]."""
    features: tuple[Feature, ...] = Field(
        default=("total_scatter", "resolution", "poca", "poca_unc"), min_length=1
    )
    """What the network knows of each muon."""
    width: Count = 16
    """Channels of the hidden layers; >= 1."""
    start: Number = 0.0
    """Prediction before training; read for ``number``."""

    @property
    def n_outputs(self) -> int:
        """Numbers that the network gives for a volume."""
        return len(self.targets) if self.predicts in ("classes", "integers") else 1
