"""Joint distribution of deflection and displacement behind a stretch of matter.

With scattering power ``T(l)`` per unit of path, the deflection at the end of a path of length ``L``
and the lateral displacement there are Gaussian with ``var(deflection) = int T dl``,
``cov = int T (L - l) dl`` and ``var(displacement) = int T (L - l)^2 dl``, the same in each of two
planes normal to the flight. A uniform slab gives displacement ``L theta0 / sqrt(3)`` and
correlation ``sqrt(3) / 2``, with a positive sign (D-01).
"""

from math import sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.highland import path_power


class Moments(NamedTuple):
    """Integrals along a path, weighted by powers 0, 1, 2 of what is left of it."""

    total: Float[Tensor, "*n"]
    lever: Float[Tensor, "*n"]
    lever2: Float[Tensor, "*n"]


class Depth(NamedTuple):
    """What a muon has crossed so far."""

    matter: Float[Tensor, "*n"]
    """[radiation lengths]"""
    power: Float[Tensor, "*n"]
    """Squared width in units of (A / (beta p))^2."""


def along_path(per_depth: Moments, secant: Float[Tensor, "*n"]) -> Moments:
    """Moments over the path from moments over the depth, ``secant`` the path per unit of depth."""
    square = secant * secant
    return Moments(
        per_depth.total * secant, per_depth.lever * square, per_depth.lever2 * (square * secant)
    )


def power_moments(
    matter: Moments, before: Depth, offset: Float[Tensor, "*n"]
) -> tuple[Moments, Depth]:
    """Moments of the scattering power from those of the matter, and the depth behind it.

    The power follows the matter, but for the logarithm, which favours what comes later: the power
    is taken as a parabola in the matter (Simpson's rule), exact for the angle and within 0.5 % for
    the displacement behind one uniform slab.

    Args:
        matter: of the density in radiation lengths.
        before: accumulated in front of this stretch.
        offset: from ``highland.log_offset``.
    """
    tiny = torch.finfo(matter.total.dtype).tiny
    middle, behind = before.matter.add(matter.total, alpha=0.5), before.matter + matter.total
    powers = path_power(torch.stack((middle, behind)), offset)
    half, power = powers - before.power
    after = Depth(behind, powers[1])
    early = half / power.clamp(min=tiny)  # 1/2 without the logarithm
    ratio = power / matter.total.clamp(min=tiny)
    lever = matter.lever * ratio * (early * (4.0 / 3.0)).add_(1.0 / 3.0)
    return Moments(power, lever, matter.lever2 * ratio * (2.0 * early)), after


def shift_lever(moments: Moments, shift: float) -> Moments:
    """Moments as if each scatter acted later by a path ``shift``.

    A displacement with the wrong sign in steps of ``shift`` is exactly this (compat of D-01).
    """
    total, lever, lever2 = moments
    return Moments(
        total, lever - shift * total, lever2 - 2.0 * shift * lever + shift * shift * total
    )


def draw_kicks(
    moments: Moments, scale: Float[Tensor, "*n"], normal: Float[Tensor, "4 ..."]
) -> tuple[Float[Tensor, "2 ..."], Float[Tensor, "2 ..."]]:
    """Deflections [rad] and displacements (unit of the path) in two planes.

    Args:
        moments: of the scattering power, in units of ``scale`` squared; none gives no scattering.
        scale: A / (beta p) [rad].
        normal: standard normal numbers: two for the deflections, two for the displacements.
    """
    width = _root(moments.total) * scale
    lever = moments.lever / moments.total.clamp(min=torch.finfo(width.dtype).tiny)
    rest = _root(torch.addcmul(moments.lever2, lever, moments.lever, value=-1.0)) * scale
    kicks = width * normal[:2]
    return kicks, (lever * kicks).addcmul_(rest, normal[2:])


def _root(square: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Square root, zero below zero, with a finite slope there."""
    tiny = torch.finfo(square.dtype).tiny
    return square.clamp(min=tiny).sqrt() - sqrt(tiny)  # too small to change any other bits
