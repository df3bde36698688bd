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

# With t = tan(theta): cos f = tan_x / t, sin f = tan_y / t, cos(theta) = 1 / secant. Divided by its
# downward part, d + a e0 + b e1 has the slopes ((1 - b/t) tan_x - (a secant/t) tan_y) / (1 + b t)
# and ((1 - b/t) tan_y + (a secant/t) tan_x) / (1 + b t).


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
    tan_x, tan_y = slope[0] + _NUDGE, slope[1]
    tan2 = tan_x.square().addcmul_(tan_y, tan_y)
    tan, secant = tan2.sqrt(), (tan2 + 1.0).sqrt_()
    inverse = tan.reciprocal()
    steep = kicks[1].clamp(-LARGEST_KICK, LARGEST_KICK).tan_()
    side = kicks[0].clamp(-LARGEST_KICK, LARGEST_KICK).tan_() * secant * inverse
    down = (1.0 + steep * tan).clamp_(min=1.0 / LARGEST_SLOPE).reciprocal_()
    along = 1.0 - steep * inverse
    new_x = (tan_x * along).addcmul_(tan_y, side, value=-1.0) * down
    new_y = (tan_y * along).addcmul_(tan_x, side) * down
    new_x = new_x.clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)
    new_y = new_y.clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)
    across, flat = shifts[0] * inverse, shifts[1] / secant
    below, flat = flat * tan, flat * inverse
    shift_x = (tan_y * across).addcmul_(tan_x, flat).addcmul_(new_x, below).neg_()
    shift_y = (tan_x * across).addcmul_(tan_y, flat, value=-1.0).addcmul_(new_y, below, value=-1.0)
    return (new_x, new_y), (shift_x, shift_y)
