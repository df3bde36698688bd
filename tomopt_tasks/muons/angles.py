"""Directions of flight: zenith and azimuth, projected angles, slopes.

A direction is (sin theta cos phi, sin theta sin phi, -cos theta) with theta in [0, pi/2); the
slopes are tan theta_x = tan theta cos phi and tan theta_y = tan theta sin phi. Angles that do not
fly down give NaN.
"""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

HALF_PI = 0.5 * pi


def theta_x_from_theta_phi(
    theta: Float[Tensor, "*n"], phi: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Angle to straight down in the xz plane [rad]; NaN where theta >= pi/2."""
    return torch.atan(torch.tan(theta) * torch.cos(phi)).where(theta < HALF_PI, torch.nan)


def theta_y_from_theta_phi(
    theta: Float[Tensor, "*n"], phi: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Angle to straight down in the yz plane [rad]; NaN where theta >= pi/2."""
    return torch.atan(torch.tan(theta) * torch.sin(phi)).where(theta < HALF_PI, torch.nan)


def theta_from_theta_xy(
    theta_x: Float[Tensor, "*n"], theta_y: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Zenith angle [rad]; NaN where a projected angle is not within +- pi/2."""
    theta = torch.atan(torch.hypot(torch.tan(theta_x), torch.tan(theta_y)))
    return theta.where(_flies_down(theta_x, theta_y), torch.nan)


def phi_from_theta_xy(
    theta_x: Float[Tensor, "*n"], theta_y: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Azimuth in [0, 2 pi) [rad], zero straight down (D-23); NaN as for the zenith angle."""
    phi = azimuth(torch.tan(theta_x), torch.tan(theta_y))
    return phi.where(_flies_down(theta_x, theta_y), torch.nan)


def azimuth(x: Float[Tensor, "*n"], y: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Azimuth of a vector in [0, 2 pi); zero for a null vector of any sign."""
    return wrap(torch.atan2(y + 0.0, x + 0.0))  # -0.0 + 0.0 = 0.0


def wrap(phi: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """An angle modulo 2 pi, in [0, 2 pi): never 2 pi itself, which rounding can give."""
    turned = torch.remainder(phi, 2.0 * pi)
    return turned.where(turned < 2.0 * pi, 0.0)


def _flies_down(theta_x: Tensor, theta_y: Tensor) -> Tensor:
    return (theta_x.abs() < HALF_PI) & (theta_y.abs() < HALF_PI)
