"""Deflection and displacement of a slanted track, in slopes.

Frame of a muon with flight direction ``d = (sin t cos f, sin t sin f, -cos t)``: the orthonormal
pair normal to it is ``e0 = (-sin f, cos f, 0)``, ``e1 = (-cos t cos f, -cos t sin f, -sin t)``. The
new direction is along ``d + tan(k0) e0 + tan(k1) e1`` and the displacement ``s0 e0 + s1 e1``, with
the same frame and the same sign (D-01). A vertical muon has ``f = 0`` (D-23).
"""

import torch
from jaxtyping import Float
from torch import Tensor

LARGEST_KICK = torch.pi / 2.2
"""Kicks are kept within +- this angle on both sides (D-20) [rad]."""

LARGEST_SLOPE = 20.0
"""Deflected slopes are kept within +- this.

A muon that would turn upwards leaves sideways instead, so steeply that it reaches no panel below:
all numbers stay finite, and a bank keeps its shape.
"""

_NUDGE = 1.0e-18
"""Added to a slope to give a vertical muon the azimuth zero; far below any rounding."""

# With t = tan(theta), flat = (cos f, sin f) and across = (-sin f, cos f), d + a e0 + b e1 divided
# by its downward part has the slopes t flat + secant (a across - b secant flat) / (1 + b t).


def scatter_slopes(
    slope: Float[Tensor, "2 ..."], kicks: Float[Tensor, "2 ..."], shifts: Float[Tensor, "2 ..."]
) -> tuple[Float[Tensor, "2 ..."], Float[Tensor, "2 ..."]]:
    """Change of the slopes in a layer, and the shift of the crossing of its lower face.

    Displaced by ``s1`` along ``e1``, a muon lies ``s1 sin t`` below the face; it is carried back to
    the face along its new direction.

    Args:
        slope: tan_x and tan_y before.
        kicks: deflections in the two planes [rad].
        shifts: displacements in the two planes.

    Returns:
        What is added to the slopes, and the shift in x and y of the crossing (unit of ``shifts``).
    """
    tan_x, tan_y = slope[0] + _NUDGE, slope[1]
    tan2 = tan_x.square().addcmul_(tan_y, tan_y)
    tan, secant = tan2.sqrt(), (tan2 + 1.0).sqrt_()
    flat = torch.stack((tan_x, tan_y)) / tan
    across = torch.stack((-flat[1], flat[0]))
    side, steep = kicks.clamp(-LARGEST_KICK, LARGEST_KICK).tan_()
    down = (steep * tan).add_(1.0).clamp_(min=1.0 / LARGEST_SLOPE)
    turn = (across * side).addcmul_(flat, steep * secant, value=-1.0) * (secant / down)
    new = (slope + turn).clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)
    carried = torch.addcmul(flat, new, tan)
    shift = (across * shifts[0]).addcmul_(carried, shifts[1] / secant, value=-1.0)
    return turn, shift
