"""Random detectors to start fits from; equal seeds and numbers, equal detectors."""

import hashlib

from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings
from tomopt_tasks.volume.settings import World

ROOM = 1e-6
"""Added to the gap between panels, so that rounding never breaks it [m]."""


def random_start(
    detector: DetectorSettings,
    world: World,
    gap: float,
    seed: int,
    number: int,
    purpose: str = "start",
) -> DetectorSettings:
    """A detector of as many panels in the same groups, everything else at random.

    Each group has one centre, uniform over the passive volume: a fit that moves the panels of a
    group together could never bring them over one another otherwise. Heights are uniform in the
    zone of the group with the gap kept, shares of the area uniform between a half and three halves.

    Args:
        detector: whose groups, zones and panels to take.
        world: gives the extent of the passive volume.
        gap: smallest distance in z between two panels of a group [m].
        seed: names the random numbers.
        number: which detector, from 1.
        purpose: names the random numbers, too.
    """
    layers = []
    for layer in detector.layers:
        group = layer.panels[0].group
        names = (seed, purpose, number, group)
        layers.append(_random_layer(layer, world, gap, names))
    return detector.model_copy(update={"layers": tuple(layers)})


def _random_layer(
    layer: LayerSettings, world: World, gap: float, names: tuple[int | str, ...]
) -> LayerSettings:
    n_panels, step = len(layer.panels), gap + ROOM
    room = max(layer.size - (n_panels - 1) * step, 0.0)
    rises = sorted(room * uniform(*names, "z", i) for i in range(n_panels))
    heights = [layer.bottom + rise + i * step for i, rise in enumerate(rises)][::-1]
    xy = (world.size[0] * uniform(*names, "x"), world.size[1] * uniform(*names, "y"))
    panels = []
    for i, panel in enumerate(layer.panels):
        factor = (0.5 + uniform(*names, "area", i)) ** 0.5
        span = (panel.span[0] * factor, panel.span[1] * factor)
        update = {"xy": xy, "z": heights[i], "span": span, "mixture": None}
        panels.append(panel.model_copy(update=update))
    return layer.model_copy(update={"panels": tuple(panels)})


def uniform(*names: int | str) -> float:
    """A number in [0, 1) that depends on the names only; needs no torch."""
    text = "\x1f".join(str(name) for name in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48
