"""Scatter variables as functions of the fitted track parameters (spec 5.1).

Rows hold (x, y, tan_x, tan_y) at the top of the passive volume, then the same at its bottom; slopes
are per unit of depth. Angles come from two-argument arctangents, so that small ones keep their
precision (D-04) and vertical tracks are defined (D-23).
"""

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Rows = Float[Tensor, "mu 8"]
Columns = Float[Tensor, "mu var"]
TINY = 1e-30


def _in(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows[:, 0:2], rows[:, 2:4]


def _out(rows: Rows) -> tuple[Tensor, Tensor]:
    return rows[:, 4:6], rows[:, 6:8]


def by_offset_and_slope(
    jacobian: Float[Tensor, "*mu 8"],
) -> tuple[Float[Tensor, "*mu 4"], Float[Tensor, "*mu 4"]]:
    """Derivatives with respect to the positions at top and bottom, and to the slopes there."""
    x, s, x_out, s_out = jacobian.split(2, -1)
    return torch.cat([x, x_out], -1), torch.cat([s, s_out], -1)


def _norm(v: Float[Tensor, "mu n"]) -> Float[Tensor, "mu 1"]:
    return torch.sqrt((v * v).sum(1, keepdim=True) + TINY)


def _theta(slope: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 1"]:
    return torch.atan(_norm(slope))


def _phi(slope: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 1"]:
    return torch.remainder(torch.atan2(slope[:, 1:2], slope[:, 0:1]), 2 * torch.pi)


def _feet(rows: Rows, height: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Feet of the common perpendicular as (x, y, depth), see :mod:`.poca`."""
    (a1, s1), (a2, s2) = _in(rows), _out(rows)
    a2 = a2 - height * s2
    d, e = s2 - s1, a2 - a1
    cross = s1[:, 0:1] * d[:, 1:2] - s1[:, 1:2] * d[:, 0:1]
    q = (d * d).sum(1, keepdim=True) + cross**2 + TINY
    ed = (e * d).sum(1, keepdim=True)

    def foot(own: Tensor, other: Tensor) -> Tensor:
        along = (e * other).sum(1, keepdim=True) * (d * other).sum(1, keepdim=True)
        return (along - (1 + (other * other).sum(1, keepdim=True)) * ed) / q

    t1, t2 = foot(s1, s2), foot(s2, s1)
    return a1 + s1 * t1, t1, a2 + s2 * t2, t2


def poca_xyz(rows: Rows, height: float, z_top: float) -> Columns:
    """Midpoint of the common perpendicular [m]."""
    xy1, t1, xy2, t2 = _feet(rows, height)
    return torch.cat([0.5 * (xy1 + xy2), z_top - 0.5 * (t1 + t2)], 1)


def dxy(rows: Rows, height: float, z_top: float) -> Columns:
    """Separation of the tracks at closest approach, x and y components, out minus in [m]."""
    xy1, _, xy2, _ = _feet(rows, height)
    return xy2 - xy1


def total_scatter(rows: Rows, height: float, z_top: float) -> Columns:
    """Angle between the directions before and after [rad]."""
    s1, s2 = _in(rows)[1], _out(rows)[1]
    d = s2 - s1
    cross = s1[:, 0:1] * d[:, 1:2] - s1[:, 1:2] * d[:, 0:1]
    sine = torch.sqrt((d * d).sum(1, keepdim=True) + cross**2 + TINY)
    return torch.atan2(sine, 1 + (s1 * s2).sum(1, keepdim=True))


def theta_in(rows: Rows, height: float, z_top: float) -> Columns:
    """Zenith angle before [rad]."""
    return _theta(_in(rows)[1])


def theta_out(rows: Rows, height: float, z_top: float) -> Columns:
    """Zenith angle after [rad]."""
    return _theta(_out(rows)[1])


def phi_in(rows: Rows, height: float, z_top: float) -> Columns:
    """Azimuth before, in [0, 2 pi) [rad]."""
    return _phi(_in(rows)[1])


def phi_out(rows: Rows, height: float, z_top: float) -> Columns:
    """Azimuth after, in [0, 2 pi) [rad]."""
    return _phi(_out(rows)[1])


def _joint(rows: Rows) -> tuple[Tensor, Tensor]:
    """The pair (dtheta, dphi) with the smaller quadrature sum (spec 5.1)."""
    before, after = _in(rows)[1], _out(rows)[1]
    t1, t2, p1, p2 = _theta(before), _theta(after), _phi(before), _phi(after)
    gap = (p1 - p2).abs()
    dphi = torch.minimum(gap, 2 * torch.pi - gap)
    dtheta = (t1 - t2).abs()
    other_theta, other_phi = t1 + t2, torch.pi - dphi
    first = dtheta**2 + dphi**2 <= other_theta**2 + other_phi**2
    return torch.where(first, dtheta, other_theta), torch.where(first, dphi, other_phi)


def dtheta(rows: Rows, height: float, z_top: float) -> Columns:
    """Change of the zenith angle, chosen together with :func:`dphi`; >= 0 [rad]."""
    return _joint(rows)[0]


def dphi(rows: Rows, height: float, z_top: float) -> Columns:
    """Change of the azimuth, chosen together with :func:`dtheta`; >= 0 [rad]."""
    return _joint(rows)[1]


def theta_xy_in(rows: Rows, height: float, z_top: float) -> Columns:
    """Projected angles before [rad]."""
    return torch.atan(_in(rows)[1])


def theta_xy_out(rows: Rows, height: float, z_top: float) -> Columns:
    """Projected angles after [rad]."""
    return torch.atan(_out(rows)[1])


def dtheta_xy(rows: Rows, height: float, z_top: float) -> Columns:
    """Absolute change of the projected angles [rad]."""
    return (torch.atan(_in(rows)[1]) - torch.atan(_out(rows)[1])).abs()


def xyz_in(rows: Rows, height: float, z_top: float) -> Columns:
    """Where the incoming track enters the passive range [m]."""
    xy = _in(rows)[0]
    return torch.cat([xy, torch.full_like(xy[:, :1], z_top)], 1)


def xyz_out(rows: Rows, height: float, z_top: float) -> Columns:
    """Where the outgoing track leaves the passive range [m]."""
    xy = _out(rows)[0]
    return torch.cat([xy, torch.full_like(xy[:, :1], z_top - height)], 1)


VARIABLES: Mapping[str, Callable[[Tensor, float, float], Tensor]] = {
    "poca_xyz": poca_xyz,
    "dxy": dxy,
    "total_scatter": total_scatter,
    "theta_msc": total_scatter,
    "theta_in": theta_in,
    "theta_out": theta_out,
    "phi_in": phi_in,
    "phi_out": phi_out,
    "dtheta": dtheta,
    "dphi": dphi,
    "theta_xy_in": theta_xy_in,
    "theta_xy_out": theta_xy_out,
    "dtheta_xy": dtheta_xy,
    "xyz_in": xyz_in,
    "xyz_out": xyz_out,
}
"""Name of the spec -> function of (rows, height of the passive volume, z of its top)."""
