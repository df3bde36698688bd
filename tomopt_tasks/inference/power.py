"""From scattering angles to radiation lengths: Highland's formula and its inverse.

Highland's width of the projected angle behind n radiation lengths is
``theta0^2 = (A / (beta p))^2 n (1 + B ln n)^2``. The *scattering power* of a muon is
``(beta p / A)^2 theta^2 / 2``, whose mean is ``n (1 + B ln n)^2``: it needs no momentum.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import MUON_MASS, SCATTER_COEF_A, SCATTER_COEF_B

LEAST_POWER = 1e-9
"""Powers below this are inverted as if they were this large (0.3 um of air)."""

STEPS = 6
"""Steps of Newton's method; five reach double precision from 1e-9 to 1e6 radiation lengths."""


def squared_angle(s1: Float[Tensor, "2 ..."], s2: Float[Tensor, "2 ..."]) -> Float[Tensor, "..."]:
    """Square of the angle between the directions of the slopes before and after [rad2]."""
    d = s2 - s1
    (s1_x, s1_y), (d_x, d_y) = s1, d
    cross = s1_x * d_y - s1_y * d_x
    sine2 = (d * d).sum(0) + cross * cross
    cosine = 1.0 + (s1 * s2).sum(0)
    small = sine2 < 1e-8 * cosine * cosine
    angle = torch.atan2(torch.sqrt(torch.where(small, torch.ones_like(sine2), sine2)), cosine)
    tan2 = sine2 / torch.where(small, cosine * cosine, torch.ones_like(cosine))
    return torch.where(small, tan2 * (1.0 - tan2 * (2.0 / 3.0)), angle * angle)


def angle_noise(
    s1: Float[Tensor, "2 ..."], s2: Float[Tensor, "2 ..."], var_slopes: Float[Tensor, "2 ..."]
) -> Float[Tensor, "..."]:
    """Mean square of the angle that the hit resolution alone makes [rad2].

    The trace of the covariance of the change of direction in the plane normal to the flight; it is
    what :func:`squared_angle` is too large on average (D-22).

    Args:
        s1: slopes before.
        s2: slopes after.
        var_slopes: sum of their variances.
    """
    square1, square2 = s1.square(), s2.square()
    norm = (1.0 + square1.sum(0)) * (1.0 + square2.sum(0))
    (x2, y2), (var_x, var_y) = square1, var_slopes
    noise: Tensor = (var_x * (1.0 + y2) + var_y * (1.0 + x2)) / norm
    return noise


def power_scale(momentum: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """(beta p / A)^2: scattering power of one squared radian in one plane.

    Args:
        momentum: [GeV]; > 0.
    """
    beta2 = momentum**2 / (momentum**2 + MUON_MASS**2)
    return beta2 * (momentum / SCATTER_COEF_A) ** 2


def thickness(power: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Radiation lengths n with ``n (1 + B ln n)^2 = power``.

    Newton's method in ln n, a fixed number of steps. From a solution, one step more has the very
    derivative of the solution, so that gradients go through the last step alone.

    Args:
        power: > 0; held at ``LEAST_POWER`` from below.
    """
    target = torch.log(power.clamp_min(LEAST_POWER))
    x = target.detach()
    for _ in range(STEPS - 1):
        x = _newton(x, target.detach())
    return torch.exp(_newton(x, target))


def _newton(x: Tensor, target: Tensor) -> Tensor:
    bracket = 1.0 + SCATTER_COEF_B * x
    return x - (x + 2.0 * torch.log(bracket) - target) / (1.0 + 2.0 * SCATTER_COEF_B / bracket)


def x0_from_scatters(
    deltaz: float,
    total_scatter: Float[Tensor, "*n"],
    theta_in: Float[Tensor, "*n"],
    theta_out: Float[Tensor, "*n"],
    mom: Float[Tensor, "*n"],
) -> Float[Tensor, "*n"]:
    """Radiation length [m] from an angle, beta = 1 and no logarithm (spec 5.4).

    Args:
        deltaz: thickness of the layer [m].
        total_scatter: angle in one plane, i.e. the angle in space over sqrt(2) [rad]; > 0.
        theta_in: zenith angle before [rad].
        theta_out: zenith angle after [rad].
        mom: momentum [GeV].
    """
    cosine = 0.5 * (torch.cos(theta_in) + torch.cos(theta_out))
    return (SCATTER_COEF_A / mom) ** 2 * deltaz / (total_scatter**2 * cosine)


def path_in_box(
    entry: Float[Tensor, "2 ..."], slope: Float[Tensor, "2 ..."], box: Float[Tensor, "3"]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Depths at which straight lines enter and leave a box, counted from its top [m].

    Args:
        entry: where the lines cross the plane of the top, from the low corner [m].
        slope: change of position per unit of depth.
        box: extent of the box in x, y and z [m].

    Returns:
        First and last depth in the box; equal for lines that miss it.
    """
    *widths, height = box.unbind()
    spans = []
    for at, tan, width in zip(entry, slope, widths, strict=True):
        steep = torch.where(tan.abs() < 1e-9, 1e-9, tan)
        low, high = -at / steep, (width - at) / steep
        forward = steep > 0
        spans.append((torch.where(forward, low, high), torch.where(forward, high, low)))
    (in_x, out_x), (in_y, out_y) = spans
    first = torch.where(in_x > in_y, in_x, in_y).clamp_min(0.0).clamp_max(height)
    last = torch.where(out_x < out_y, out_x, out_y).clamp_max(height)
    return first, torch.where(last > first, last, first)


SPREAD = 1.0 / math.sqrt(12.0)
"""Standard deviation of a uniform distribution of width one."""
