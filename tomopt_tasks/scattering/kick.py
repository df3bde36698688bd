"""Deflection and displacement of a slanted track, in slopes.

Frame of a muon with flight direction ``d = (sin t cos f, sin t sin f, -cos t)``: the orthonormal
pair normal to it is ``e0 = (-sin f, cos f, 0)``, ``e1 = (-cos t cos f, -cos t sin f, -sin t)``. The
new direction is along ``d + tan(k0) e0 + tan(k1) e1`` and the displacement ``s0 e0 + s1 e1``, with
the same frame and the same sign (D-01). A vertical muon has ``f = 0``.
"""

import torch
from torch import Tensor

Pair = tuple[Tensor, Tensor]

LARGEST_KICK = torch.pi / 2.2
"""Kicks are kept within +- this angle on both sides (D-20) [rad]."""

GRAZING = 0.02
"""Least downward component of a deflected direction, relative to the old one.

A muon that would turn upwards leaves sideways instead, so steeply that it reaches no panel below;
all numbers stay finite.
"""


def scatter_slopes(slope: Pair, kicks: Pair, shifts: Pair) -> tuple[Pair, Pair]:
    """Slopes behind a layer, and the shift of the crossing of its lower face.

    Displaced by ``s1`` along ``e1``, a muon lies ``s1 sin t`` below the face; it is carried back to
    the face along its new direction.

    Args:
        slope: tan_x and tan_y before.
        kicks: deflections in the two planes [rad].
        shifts: displacements in the two planes.

    Returns:
        The new slopes, and the shift in x and y (unit of ``shifts``).
    """
    tan_x, tan_y = slope
    tan2 = tan_x.square() + tan_y.square()
    tan = tan2.sqrt()
    secant = (1.0 + tan2).sqrt()
    inverse = 1.0 / tan.clamp(min=torch.finfo(tan.dtype).tiny)
    cos, sin = torch.where(tan > 0, tan_x * inverse, 1.0), tan_y * inverse
    side = kicks[0].clamp(-LARGEST_KICK, LARGEST_KICK).tan() * secant
    steep = kicks[1].clamp(-LARGEST_KICK, LARGEST_KICK).tan()
    down = (1.0 + steep * tan).clamp(min=GRAZING)
    new_x = (tan_x - steep * cos - side * sin) / down
    new_y = (tan_y - steep * sin + side * cos) / down
    across, below = shifts[1] / secant, shifts[1] * tan / secant
    return (new_x, new_y), (
        -shifts[0] * sin - across * cos - new_x * below,
        shifts[0] * cos - across * sin - new_y * below,
    )
