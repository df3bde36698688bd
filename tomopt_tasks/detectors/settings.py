"""Panels, layers and the whole detector, with every number resolved (what a fit starts from)."""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import (
    CostPerArea,
    Count,
    Flag,
    InverseLength,
    Length,
    NonNegativeLength,
    PositiveLength,
    PositiveNumber,
    Probability,
)


class Mixture(Config):
    """The Gaussians of a heat map."""

    mu: tuple[tuple[Length, Length], ...] = Field(default=((0.5, 0.5),), min_length=1)
    """Centre of each [m]."""
    sig: tuple[tuple[PositiveLength, PositiveLength], ...] = Field(
        default=((0.2, 0.2),), min_length=1
    )
    """Width of each in x and y, a standard deviation [m]; > 0."""
    norm: PositiveNumber = 1.0
    """Response at the highest centre; > 0."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.mu) != len(self.sig):
            text = "got {sig} widths for {mu} centres; write one for each"
            values = {"path": ("sig",), "sig": len(self.sig), "mu": len(self.mu)}
            raise PydanticCustomError("mixture", text, values)
        return self


class PanelSettings(Config):
    """One rectangular detector plane."""

    name: str = Field(default="above[0]", min_length=1)
    """Group and index, e.g. ``above[0]``; unique in a detector."""
    kind: Literal["sigmoid", "panel", "heat_map"] = "sigmoid"
    """Soft edges of the response in training: ``sigmoid`` or Gaussian (``panel``); or a
    ``heat_map``: a response that follows a mixture of Gaussians, without edges."""
    n_cluster: Count = 30
    """Gaussians of a heat map; >= 1; read without a ``mixture``."""
    mixture: Mixture | None = None
    """Gaussians of a heat map; null: drawn in the square of ``xy`` and ``span``."""
    xy: tuple[Length, Length] = (0.0, 0.0)
    """Centre [m]; any value: the passive volume has its corner at (0, 0)."""
    z: Length = 1.48
    """Height [m]; inside its layer."""
    span: tuple[PositiveLength, PositiveLength] = (0.8, 0.8)
    """Full widths in x and y [m]; > 0."""
    resolution: InverseLength = 1.0e4
    """Inverse of the hit resolution [1/m]; > 0."""
    efficiency: Probability = 0.9
    """Probability of a hit inside the panel; > 0, <= 1."""
    m2_cost: CostPerArea = 1.0
    """Cost per area [1/m2]; > 0."""
    smooth: PositiveNumber = 1.0
    """Softness of the edge of a sigmoid panel, in half-widths; > 0."""
    soft_resolution: Flag = False
    """Whether soft edges blur hits as they fade; true is compat: TomOpt. False: they only make
    hits less likely, as hard edges do, so that training ranks designs as the evaluation does."""
    missed_hits: Flag = False
    """Whether hits are missed at random, with the efficiency as the chance of being there. False:
    every hit inside the panel is there and counts with the efficiency as its weight, as in TomOpt;
    then a second panel for safety is worth less than it is."""

    @property
    def area(self) -> float:
        """Area [m2]."""
        return self.span[0] * self.span[1]

    @property
    def group(self) -> str:
        """The group that the panel belongs to: its name without the index."""
        return self.name.partition("[")[0]


class LayerSettings(Config):
    """The panels of one group, and the range of heights that they may move in."""

    pos: Literal["above", "below"] = "above"
    """Side of the passive volume."""
    z: Length = 1.8
    """Top of the layer [m]; at most world.height."""
    size: PositiveLength = 0.4
    """Thickness of the layer [m]; > 0; the layer does not overlap the passive volume."""
    panels: tuple[PanelSettings, ...] = Field(min_length=1)
    """Panels in the order of the study file; at least one."""

    @property
    def bottom(self) -> float:
        """Bottom of the layer [m]."""
        return self.z - self.size


class DetectorSettings(Config):
    """Everything about a detector, from top to bottom."""

    layers: tuple[LayerSettings, ...] = Field(min_length=1)
    """Layers from top to bottom; at least one."""
    budget: PositiveNumber | None = None
    """Cost that all panels share (area x m2_cost, summed); > 0; null: sides are independent."""
    gap: NonNegativeLength = 0.0
    """Smallest distance in z that a fit keeps between two panels of a layer [m]; >= 0."""

    @property
    def panels(self) -> tuple[PanelSettings, ...]:
        """All panels, layer by layer."""
        return tuple(panel for layer in self.layers for panel in layer.panels)

    @property
    def area(self) -> float:
        """Area of all panels [m2]."""
        return sum(panel.area for panel in self.panels)

    @property
    def cost(self) -> float:
        """Cost of all panels as they are (area x m2_cost, summed)."""
        return sum(panel.area * panel.m2_cost for panel in self.panels)


def learnable(panel: PanelSettings) -> tuple[str, ...]:
    """Names of what a fit can change of a panel, in the words of a study."""
    return ("mu", "sig", "norm", "z") if panel.kind == "heat_map" else ("xy", "z", "side")
