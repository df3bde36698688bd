"""Detectors of the ladle-furnace benchmark, as a notebook builds them (spec 10.2).

Two oddities are part of the benchmark: the second panel above is sharp (``smooth`` 0.1), and the
second panel below never misses (``eff`` 1).
"""

from collections.abc import Sequence

import torch
from torch import nn

from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import SigmoidDetectorPanel
from tomopt_tasks.volume.layer import PassiveLayer

ODD_PANEL = 1
"""Index of the panels with another smoothness (above) and efficiency (below)."""


def get_initial_detector(
    *, res: float = 1e4, eff: float = 0.9, span: float = 0.8, device: torch.device | str = "cpu"
) -> nn.ModuleList:
    """All panels close together above and below one corner: where the benchmark starts.

    Args:
        res: inverse resolution [1/m].
        eff: efficiency of all panels but one.
        span: full widths of the panels [m].
        device: where the layers live.

    Returns:
        Layers for ``Volume``: a detector layer, ten passive layers, a detector layer.
    """
    heights = ((1.48, 1.47, 1.46, 1.45), (0.35, 0.34, 0.33, 0.32))
    return _layers(0.0, heights, (res, eff, span), device)


def get_baseline_detector_1(
    *, res: float = 1e4, eff: float = 0.9, span: float = 0.8, device: torch.device | str = "cpu"
) -> nn.ModuleList:
    """Centred panels in pairs with a long arm; arguments as ``get_initial_detector``."""
    heights = ((1.80, 1.75, 1.50, 1.45), (0.35, 0.30, 0.05, 0.00))
    return _layers(0.5, heights, (res, eff, span), device)


def get_baseline_detector_2(
    *, res: float = 1e4, eff: float = 0.9, span: float = 0.8, device: torch.device | str = "cpu"
) -> nn.ModuleList:
    """Centred panels at even distances; arguments as ``get_initial_detector``."""
    heights = ((1.75, 1.65, 1.55, 1.45), (0.35, 0.25, 0.15, 0.05))
    return _layers(0.5, heights, (res, eff, span), device)


def _layers(
    xy: float,
    heights: tuple[Sequence[float], Sequence[float]],
    numbers: tuple[float, float, float],
    device: torch.device | str,
) -> nn.ModuleList:
    res, eff, span = numbers
    lw = torch.tensor([1.0, 1.0], device=device)
    sides = []
    for pos, top, zs in (("above", 1.8, heights[0]), ("below", 0.4, heights[1])):
        odd = [index == ODD_PANEL for index in range(len(zs))]
        panels = [
            SigmoidDetectorPanel(
                smooth=0.1 if odd[index] and pos == "above" else 1.0,
                res=res,
                eff=1.0 if odd[index] and pos == "below" else eff,
                init_xyz=(xy, xy, z),
                init_xy_span=(span, span),
                device=device,
            )
            for index, z in enumerate(zs)
        ]
        sides.append(PanelDetectorLayer(pos, lw=lw, z=top, size=0.4, panels=panels))
    passives = [PassiveLayer(lw, z=(14 - k) / 10, size=0.1) for k in range(10)]
    return nn.ModuleList([sides[0], *passives, sides[1]])
