"""Whether a detector fits into its world; each failure names one place."""

from itertools import pairwise

from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings, PanelSettings
from tomopt_tasks.volume.settings import World

ROUNDING = 1e-9
"""Lengths that differ by less count as equal [m]."""


def check_detector(detector: DetectorSettings, world: World, gap: float, path: Path) -> None:
    """Zones outside the passive volume, panels inside their zones and apart, names unique.

    Args:
        detector: to check.
        world: passive volume and height.
        gap: smallest distance in z between the panels of a layer [m].
        path: where the detector stands in the study.

    Raises:
        Problem: at the place of the first entry that is wrong.
    """
    names = [panel.name for panel in detector.panels]
    for i, layer in enumerate(detector.layers):
        here = (*path, "layers", i)
        for j, panel in enumerate(layer.panels):
            _check_height((*here, "panels", j, "z"), panel, layer, world)
            if names.count(panel.name) > 1:
                raise Problem(
                    (*here, "panels", j, "name"),
                    f'got "{panel.name}" more than once, but names are unique; rename one',
                )
        _check_kinds(here, layer)
        _check_zone((*here, "z"), layer, world)
        _check_gap(here, layer, gap)
    for side in ("above", "below"):
        n = sum(len(layer.panels) for layer in detector.layers if layer.pos == side)
        if n < 2:
            raise Problem(
                path,
                f"got {n} panel{'' if n == 1 else 's'} {side} the passive volume, but a track "
                "needs at least 2 on each side; add panels",
            )


def _check_kinds(path: Path, layer: LayerSettings) -> None:
    """Heat maps are among themselves, and know no hits that are missed."""
    for j, panel in enumerate(layer.panels):
        heat = panel.kind == "heat_map"
        if heat != (layer.panels[0].kind == "heat_map"):
            text = f'got "{panel.kind}" beside "{layer.panels[0].kind}" in one group; heat maps '
            raise Problem((*path, "panels", j, "kind"), text + "need a group of their own")
        if heat and panel.missed_hits:
            text = "got true, but a heat map misses no hits at random; leave it out"
            raise Problem((*path, "panels", j, "missed_hits"), text)
        if panel.mixture is not None and not heat:
            text = f'is given, but the panel is a "{panel.kind}"; write kind: heat_map'
            raise Problem((*path, "panels", j, "mixture"), text)


def _check_height(path: Path, panel: PanelSettings, layer: LayerSettings, world: World) -> None:
    low, high = world.passive
    zone = f"{layer.bottom:g} to {layer.z:g} m"
    if low + ROUNDING < panel.z < high - ROUNDING:
        raise Problem(
            path,
            f"got {panel.z:g} m, which lies inside the passive volume ({low:g} to {high:g} m); "
            f"move the panel {layer.pos} it or change world.passive",
        )
    if not layer.bottom - ROUNDING <= panel.z <= layer.z + ROUNDING:
        raise Problem(
            path,
            f"got {panel.z:g} m, which lies outside the zone of its group ({zone}); move the "
            "panel or change the zone (within.z)",
        )


def _check_zone(path: Path, layer: LayerSettings, world: World) -> None:
    low, high = world.passive
    allowed = (high, world.height) if layer.pos == "above" else (0.0, low)
    inside = allowed[0] - ROUNDING <= layer.bottom and layer.z <= allowed[1] + ROUNDING
    if not inside:
        raise Problem(
            path,
            f"got a zone of {layer.bottom:g} to {layer.z:g} m, but panels {layer.pos} the passive "
            f"volume may be at {allowed[0]:g} to {allowed[1]:g} m; change the zone or the world",
        )


def _check_gap(path: Path, layer: LayerSettings, gap: float) -> None:
    order = sorted(range(len(layer.panels)), key=lambda j: layer.panels[j].z)
    for lower, upper in pairwise(order):
        distance = layer.panels[upper].z - layer.panels[lower].z
        if distance < gap - ROUNDING:
            j, other = max(lower, upper), layer.panels[min(lower, upper)]
            raise Problem(
                (*path, "panels", j, "z"),
                f"got {layer.panels[j].z:g} m, which is {distance:g} m from {other.name}, but the "
                f"gap between panels is at least {gap:g} m; move it or lower constraints.gap",
            )
