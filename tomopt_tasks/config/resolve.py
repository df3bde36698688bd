"""From a detector as it is written to every panel, and back from a panel to where it is written."""

import re
from dataclasses import dataclass, field
from typing import Literal

from tomopt_tasks.config.constraints import Constraints, scale_to_budget
from tomopt_tasks.config.detector_file import (
    GroupedDetector,
    OtherTraits,
    PanelGroup,
    PanelOverride,
    PanelTraits,
    panel_names,
)
from tomopt_tasks.config.document import nearest
from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings, PanelSettings
from tomopt_tasks.volume.settings import World

Side = Literal["above", "below"]

_WORD = re.compile(r"[^\W\d][\w-]*")


@dataclass(slots=True)
class Resolved:
    """A detector with every number, and where each of them was written."""

    detector: DetectorSettings
    origins: dict[Path, Path] = field(default_factory=dict)
    """Place in the resolved detector -> place in the written one; empty: they are the same."""

    def origin(self, path: Path) -> Path:
        """Where the entry, or else the innermost written entry around it, was written."""
        if not self.origins:
            return path
        lengths = range(len(path), 0, -1)
        return next((self.origins[path[:n]] for n in lengths if path[:n] in self.origins), ())


def resolve_detector(
    written: GroupedDetector | DetectorSettings, world: World, constraints: Constraints | None
) -> Resolved:
    """Every panel of a detector, with the budget and the gap of the study, if there is one.

    Raises:
        Problem: a group without side or zone, an override of no panel, two sizes for one panel,
            or a budget that cannot be shared.
    """
    if isinstance(written, DetectorSettings):
        return Resolved(_constrained(written, constraints))
    _check_overrides(written)
    zones = {name: _zone(name, group, world) for name, group in written.groups.items()}
    order = sorted(zones, key=lambda name: -zones[name][2])
    origins: dict[Path, Path] = {}
    layers = []
    for i, name in enumerate(order):
        pos, low, high = zones[name]
        origins[("layers", i)] = ("groups", name)
        if written.groups[name].within is not None:
            origins[("layers", i, "z")] = ("groups", name, "within", "z")
        panels = []
        for j in range(len(written.groups[name].z)):
            panel, where = _panel(written, name, j)
            panels.append(panel)
            origins |= {("layers", i, "panels", j, key): path for key, path in where.items()}
        size = round(high - low, 12)  # 0.4, not 0.40000000000000013
        layers.append(LayerSettings(pos=pos, z=high, size=size, panels=tuple(panels)))
    detector = DetectorSettings(layers=tuple(layers))
    return Resolved(_constrained(detector, constraints), origins)


def _constrained(detector: DetectorSettings, constraints: Constraints | None) -> DetectorSettings:
    return detector if constraints is None else scale_to_budget(detector, constraints)


def _check_overrides(written: GroupedDetector) -> None:
    names = list(panel_names(written.groups))
    for name, override in written.panels.items():
        if name not in names:
            close = nearest(name, names)
            cure = f'did you mean "{close}"?' if close else f'write, for example, "{names[0]}"'
            raise Problem(("panels", name), f"there is no such panel; {cure}")
        if override.side is not None and override.span is not None:
            raise Problem(
                ("panels", name, "span"), "got both side and span for one panel; remove one"
            )


def _zone(name: str, group: PanelGroup, world: World) -> tuple[Side, float, float]:
    """Side, lowest and highest z of a group."""
    path: Path = ("groups", name)
    if not _WORD.fullmatch(name):
        raise Problem(path, "the name of a group is a word without dots or brackets; rename it")
    pos: Side
    if group.pos is not None:
        pos = group.pos
    elif name in ("above", "below"):
        pos = "above" if name == "above" else "below"
    else:
        raise Problem(
            (*path, "pos"), 'missing, but only "above" and "below" go without; add pos: above'
        )
    if group.within is not None:
        return pos, *group.within.z
    low, high = (world.passive[1], world.height) if pos == "above" else (0.0, world.passive[0])
    if not low < high:
        raise Problem(
            path,
            f"the world has no room {pos} the passive volume ({low:g} to {high:g} m); change "
            "world.height or world.passive",
        )
    return pos, low, high


def _panel(written: GroupedDetector, name: str, j: int) -> tuple[PanelSettings, dict[str, Path]]:
    """One panel, and where its fields were written."""
    group, label = written.groups[name], f"{name}[{j}]"
    own = written.panels.get(label, PanelOverride())
    traits = _traits(written.panel, group.panel, own)
    here: Path = ("groups", name)
    (xy, xy_each), (side, side_each) = group.centre(j), group.width(j)
    where: dict[str, Path] = {
        "z": (*here, "z", j),
        "xy": (*here, "xy", j) if xy_each else (*here, "xy"),
        "span": (*here, "side", j) if side_each else (*here, "side"),
    }
    span = (side, side) if own.side is None else (own.side, own.side)
    if own.mixture is not None:
        where["mixture"] = ("panels", label, "mixture")
    for key, shown in (("z", "z"), ("xy", "xy"), ("side", "span"), ("span", "span")):
        if getattr(own, key) is not None:
            where[shown] = ("panels", label, key)
    panel = PanelSettings(
        name=label,
        kind=traits.kind,
        n_cluster=len(own.mixture.mu) if own.mixture else traits.n_cluster,
        mixture=own.mixture,
        xy=own.xy if own.xy is not None else xy,
        z=own.z if own.z is not None else group.z[j],
        span=own.span if own.span is not None else span,
        resolution=1.0 / traits.sigma,
        efficiency=traits.efficiency,
        m2_cost=traits.cost,
        smooth=traits.smooth,
        soft_resolution=traits.soft_resolution,
        missed_hits=traits.missed_hits,
    )
    return panel, where


def _traits(common: PanelTraits, *others: OtherTraits) -> PanelTraits:
    """The common traits, changed by each of the others in turn."""
    for other in others:
        values = {name: getattr(other, name) for name in PanelTraits.model_fields}
        given = {name: value for name, value in values.items() if value is not None}
        common = common.model_copy(update=given)
    return common
