"""How a detector is written: groups of panels that share what they have in common."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.detectors.settings import DetectorSettings, Mixture
from tomopt_tasks.quantities import (
    CostPerArea,
    Count,
    Flag,
    Length,
    PositiveLength,
    PositiveNumber,
    Probability,
)

Point = tuple[Length, Length]


def _one_or_each(value: object) -> str:
    """Whether an entry is one value for a group, or a list with one for each panel."""
    return "<each>" if isinstance(value, (list, tuple)) else "<one>"


def _point_or_each(value: object) -> str:
    nested = isinstance(value, (list, tuple)) and len(value) > 0
    return _one_or_each(value[0]) if nested else "<one>"  # type: ignore[index]


Lengths = Annotated[
    Annotated[PositiveLength, Tag("<one>")] | Annotated[tuple[PositiveLength, ...], Tag("<each>")],
    Discriminator(_one_or_each),
]
Points = Annotated[
    Annotated[Point, Tag("<one>")] | Annotated[tuple[Point, ...], Tag("<each>")],
    Discriminator(_point_or_each),
]


class PanelTraits(Config):
    """What all panels of a detector have in common."""

    kind: Literal["sigmoid", "panel", "heat_map"] = "sigmoid"
    """Soft edges of the response in training: ``sigmoid`` or Gaussian (``panel``); or a
    ``heat_map``, whose response follows a mixture of Gaussians; it needs constraints.area: null."""
    n_cluster: Count = 30
    """Gaussians of a heat map, drawn in the square of its ``xy`` and ``side``; >= 1."""
    sigma: PositiveLength = 1.0e-4
    """Hit resolution [m]; > 0."""
    efficiency: Probability = 0.9
    """Probability of a hit inside the panel; > 0, <= 1."""
    cost: CostPerArea = 1.0
    """Cost per area [1/m2]; > 0."""
    smooth: PositiveNumber = 1.0
    """Softness of the edge of a sigmoid panel, in half-widths; > 0."""
    soft_resolution: Flag = False
    """Whether soft edges blur hits as they fade; true is compat: TomOpt."""
    missed_hits: Flag = False
    """Whether hits are missed at random; false: all are there and count with the efficiency."""


class OtherTraits(Config):
    """What one group has otherwise."""

    kind: Literal["sigmoid", "panel", "heat_map"] | None = None
    """Soft edges, or a heat map; null: as the detector."""
    n_cluster: Count | None = None
    """Gaussians of a heat map; >= 1; null: as the detector."""
    sigma: PositiveLength | None = None
    """Hit resolution [m]; > 0; null: as the detector."""
    efficiency: Probability | None = None
    """Probability of a hit inside the panel; > 0, <= 1; null: as the detector."""
    cost: CostPerArea | None = None
    """Cost per area [1/m2]; > 0; null: as the detector."""
    smooth: PositiveNumber | None = None
    """Softness of the edge, in half-widths; > 0; null: as the detector."""
    soft_resolution: Flag | None = None
    """Whether soft edges blur hits as they fade; null: as the detector."""
    missed_hits: Flag | None = None
    """Whether hits are missed at random; null: as the detector."""


class PanelOverride(OtherTraits):
    """What one panel has otherwise than its group."""

    xy: Point | None = None
    """Centre [m]; null: as the group."""
    z: Length | None = None
    """Height [m]; null: as the group."""
    side: PositiveLength | None = None
    """Side of a square panel [m]; > 0; null: as the group."""
    span: tuple[PositiveLength, PositiveLength] | None = None
    """Widths in x and y [m]; > 0; null: as the group; instead of ``side``."""
    mixture: Mixture | None = None
    """Gaussians of a heat map; null: drawn."""


class Within(Config):
    """Where the panels of a group may move."""

    z: Point
    """Lowest and highest z [m]; ascending, outside the passive volume."""

    @field_validator("z")
    @classmethod
    def _ascending(cls, z: Point) -> Point:
        if not z[0] < z[1]:
            text = "got [{low}, {high}] m, but lowest and highest must be ascending; swap them"
            raise PydanticCustomError("within", text, {"low": z[0], "high": z[1]})
        return z


class PanelGroup(Config):
    """Panels on one side of the passive volume."""

    pos: Literal["above", "below"] | None = None
    """Side of the passive volume; null: the name of the group says it."""
    z: tuple[Length, ...] = Field(min_length=1)
    """Height of each panel [m]; within the zone of the group."""
    xy: Points = (0.5, 0.5)
    """Centre of all panels, or a list with the centre of each [m]."""
    side: Lengths = 0.8
    """Side of all square panels, or a list with the side of each [m]; > 0; with a budget: start
    values, which are scaled by one factor until the detector costs the budget."""
    within: Within | None = None
    """Zone of the group; null: from the passive volume to the top, or the floor, of the world."""
    panel: OtherTraits = OtherTraits()
    """What this group has otherwise than the detector."""

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        n_panels = len(self.z)
        for name in ("xy", "side"):
            values = getattr(self, name)
            each = isinstance(values, tuple) and (name == "side" or isinstance(values[0], tuple))
            if each and len(values) != n_panels:
                text = "got a list of {got}, but the group has {n_panels} panels (one for each z);"
                text += " write one value for all or one for each"
                raise PydanticCustomError(
                    "per_panel", text, {"path": (name,), "got": len(values), "n_panels": n_panels}
                )
        return self

    def centre(self, index: int) -> tuple[Point, bool]:
        """Centre of a panel, and whether it was written for each panel apart."""
        first = self.xy[0]
        if isinstance(first, tuple):
            point: Point = self.xy[index]  # type: ignore[assignment]
            return point, True
        return self.xy, False  # type: ignore[return-value]

    def width(self, index: int) -> tuple[float, bool]:
        """Side of a panel, and whether it was written for each panel apart."""
        if isinstance(self.side, tuple):
            return self.side[index], True
        return self.side, False


class GroupedDetector(Config):
    """A detector written in groups."""

    panel: PanelTraits = PanelTraits()
    """What all panels have in common."""
    groups: dict[str, PanelGroup] = Field(min_length=1)
    """Groups by name; ``above`` and ``below`` need no ``pos``; names are words without dots."""
    panels: dict[str, PanelOverride] = Field(default_factory=dict)
    """What single panels have otherwise, e.g. ``"below[1]": {efficiency: 1.0}``."""


def _detector_form(value: object) -> str:
    written = value if isinstance(value, dict) else {}
    resolved = isinstance(value, DetectorSettings) or "layers" in written
    return "<layers>" if resolved else "<groups>"


DetectorFile = Annotated[
    Annotated[GroupedDetector, Tag("<groups>")] | Annotated[DetectorSettings, Tag("<layers>")],
    Discriminator(_detector_form),
]
"""A detector in groups, or with every panel written out (as ``tomopt show`` prints it)."""


def panel_names(groups: dict[str, PanelGroup]) -> Sequence[str]:
    """``above[0]``, ``above[1]``, ...: the names of all panels of some groups."""
    return [f"{name}[{i}]" for name, group in groups.items() for i in range(len(group.z))]
