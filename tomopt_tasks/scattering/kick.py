"""Deflection and displacement of a slanted track, in slopes.

Frame of a muon with flight direction ``d = (sin t cos f, sin t sin f, -cos t)``: the orthonormal
pair normal to it is ``e0 = (-sin f, cos f, 0)``, ``e1 = (-cos t cos f, -cos t sin f, -sin t)``. The
new direction is along ``d + tan(k0) e0 + tan(k1) e1`` and the displacement ``s0 e0 + s1 e1``, with
the same frame and the same sign (D-01). A vertical muon has ``f = 0`` (D-23).
"""

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]

LARGEST_KICK = torch.pi / 2.2
"""Kicks are kept within +- this angle on both sides (D-20) [rad]."""

LARGEST_SLOPE = 20.0
"""Deflected slopes are kept within +- this.

A muon that would turn upwards leaves sideways instead, so steeply that it reaches no panel below:
all numbers stay finite, and a bank keeps its shape.
"""

_NUDGE = 1.0e-18
"""Added to a slope to give a vertical muon the azimuth zero; far below any rounding."""


def scatter_slopes(slope: Pair, kicks: Pair, shifts: Pair) -> tuple[Pair, Pair]:
    """Slopes behind a layer, and the shift of the crossing of its lower face.

    Displaced by ``s1`` along ``e1``, a muon lies ``s1 sin t`` below the face; it is carried back to
    the face along its new direction.

    Args:
        slope: tan_x and tan_y before.
        kicks: deflections in the two planes [rad].
        shifts: displacements in the two planes.

    Returns:
        The new slopes, and the shift in x and y of the crossing (unit of ``shifts``).
    """
    tan_x, tan_y = slope
    nudged = tan_x + _NUDGE
    tan2 = nudged.square().add_(tan_y.square())
    tan, cosine = tan2.sqrt(), (tan2 + 1.0).rsqrt_()
    inverse = tan.reciprocal()
    cos, sin = nudged * inverse, tan_y * inverse
    side = kicks[0].clamp(-LARGEST_KICK, LARGEST_KICK).tan_().div_(cosine)
    steep = kicks[1].clamp(-LARGEST_KICK, LARGEST_KICK).tan_()
    down = (1.0 + steep * tan).clamp_(min=1.0 / LARGEST_SLOPE).reciprocal_()
    new_x = (tan_x - steep * cos - side * sin).mul_(down).clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)
    new_y = (tan_y - steep * sin + side * cos).mul_(down).clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)
    across, below = shifts[1] * cosine, shifts[1] * (tan * cosine)
    return (new_x, new_y), (
        -(shifts[0] * sin + across * cos + new_x * below),
        shifts[0] * cos - across * sin - new_y * below,
    )
