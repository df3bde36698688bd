"""Joint distribution of deflection and displacement behind a stretch of matter.

With scattering power ``T(l)`` per unit of path, the deflection at the end of a path of length ``L``
and the lateral displacement there are Gaussian with ``var(deflection) = int T dl``,
``cov = int T (L - l) dl`` and ``var(displacement) = int T (L - l)^2 dl``, the same in each of two
planes normal to the flight. A uniform slab gives displacement ``L theta0 / sqrt(3)`` and
correlation ``sqrt(3) / 2``, with a positive sign (D-01).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Moments(NamedTuple):
    """Integrals of the scattering power with powers 0, 1, 2 of the remaining path."""

    angle: Float[Tensor, "*n"]
    lever: Float[Tensor, "*n"]
    lever2: Float[Tensor, "*n"]


def add_segment(
    moments: Moments,
    power: tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]],
    length: Float[Tensor, "*n"],
    remaining: Float[Tensor, "*n"],
) -> Moments:
    """Adds one segment; within it the accumulated power is taken as a parabola (Simpson's rule).

    Args:
        moments: of the segments so far, about the end of the whole path.
        power: scattering power of the first half of the segment and of the whole of it.
        length: path in the segment.
        remaining: path from the end of the segment to the end of the whole path.
    """
    half, whole = power
    first = length * (4.0 * half + whole) / 6.0
    second = length * length * half * (2.0 / 3.0)
    swung = remaining * whole
    return Moments(
        moments.angle + whole,
        moments.lever + first + swung,
        moments.lever2 + second + remaining * (2.0 * first + swung),
    )


def shift_lever(moments: Moments, shift: float) -> Moments:
    """Moments as if each scatter acted later by a path ``shift``.

    A displacement with the wrong sign in steps of ``shift`` is exactly this (compat of D-01).
    """
    angle, lever, lever2 = moments
    return Moments(
        angle, lever - shift * angle, lever2 - 2.0 * shift * lever + shift * shift * angle
    )


def draw_kicks(
    moments: Moments, scale: Float[Tensor, "*n"], normal: Float[Tensor, "4 ..."]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Deflections [rad] and displacements (unit of the path) in two planes.

    Args:
        moments: in units of ``scale`` squared; no power gives no scattering.
        scale: A / (beta p) [rad].
        normal: standard normal numbers: two for the deflections, two for the displacements.
    """
    width = moments.angle.sqrt()
    mean_lever = moments.lever / moments.angle.clamp(min=torch.finfo(width.dtype).tiny)
    rest = (moments.lever2 - mean_lever * moments.lever).clamp(min=0.0).sqrt() * scale
    width = width * scale
    kicks = (width * normal[0], width * normal[1])
    shifts = (mean_lever * kicks[0] + rest * normal[2], mean_lever * kicks[1] + rest * normal[3])
    return kicks, shifts
