"""Point of closest approach of two tracks and its uncertainty, in closed form.

Notation: lines a_i + s_i * t in depth t below the plane of reference, i = 1 in, 2 out; direction
v_i = (s_i, 1); d = s_2 - s_1; e = a_2 - a_1; n = v_1 x v_2. The common perpendicular has its feet
at depths t_1 = e.(s_2 (d.s_2) - |v_2|^2 d) / |n|^2 and t_2 = e.(s_1 (d.s_1) - |v_1|^2 d) / |n|^2,
which follow from t_i = det(e, v_j, n) / |n|^2 and v x (v x w) = v (v.w) - w |v|^2. Everything is
written in the small differences d and e, so that nothing cancels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.tracks import Tracks

PARALLEL = 1e-24
"""|v1 x v2|^2 below which two tracks count as parallel (an angle of 1e-12 rad)."""


@dataclass(frozen=True, slots=True)
class Poca:
    """Midpoint of the common perpendicular."""

    xyz: Float[Tensor, "mu 3"]
    """Position [m]."""
    sigma: Float[Tensor, "mu 3"]
    """Standard deviation per coordinate from the track covariances [m]."""
    valid: Bool[Tensor, " mu"]
    """False for parallel or missing tracks, whose numbers are finite but meaningless."""


@dataclass(frozen=True, slots=True)
class _Foot:
    """Depth of one foot of the perpendicular and its derivatives per axis."""

    t: Float[Tensor, "mu 1"]
    da: Float[Tensor, "mu 2"]  # with respect to a_2; minus this for a_1
    ds1: Float[Tensor, "mu 2"]
    ds2: Float[Tensor, "mu 2"]


def cross_squared(s1: Float[Tensor, "mu 2"], s2: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 1"]:
    """|v_1 x v_2|^2 of the directions (s_1, 1) and (s_2, 1)."""
    d = s2 - s1
    return _dot(d, d) + _cross(s1, d) ** 2


def find_poca(track_in: Tracks, track_out: Tracks) -> Poca:
    """Points of closest approach of incoming and outgoing tracks.

    Args:
        track_in: tracks above the object.
        track_out: tracks below it; brought to the reference plane of ``track_in``.
    """
    out = track_out.at(track_in.z)
    a1, s1, s2 = track_in.offset, track_in.slope, out.slope
    d, e = s2 - s1, out.offset - a1
    q = cross_squared(s1, s2)
    valid = track_in.valid & track_out.valid & (q[:, 0].detach() > PARALLEL)
    q = torch.where(valid[:, None], q, torch.ones_like(q))
    foot1, foot2 = _feet(s1, s2, d, e, q)
    xy = a1 + 0.5 * (s1 * foot1.t + e + s2 * foot2.t)
    z = track_in.z - 0.5 * (foot1.t + foot2.t)
    var_xy, var_z = _variances(foot1, foot2, s1, s2, track_in, out)
    sigma = torch.sqrt(torch.cat([var_xy, var_z], 1).clamp_min(1e-30))
    return Poca(xyz=torch.cat([xy, z], 1), sigma=sigma, valid=valid)


def _feet(
    s1: Float[Tensor, "mu 2"],
    s2: Float[Tensor, "mu 2"],
    d: Float[Tensor, "mu 2"],
    e: Float[Tensor, "mu 2"],
    q: Float[Tensor, "mu 1"],
) -> tuple[_Foot, _Foot]:
    norm1, norm2 = 1.0 + _dot(s1, s1), 1.0 + _dot(s2, s2)
    ds1, ds2, es1, es2, ed = _dot(d, s1), _dot(d, s2), _dot(e, s1), _dot(e, s2), _dot(e, d)
    c = _cross(s1, d)
    q_s1 = -2.0 * d + 2.0 * c * torch.stack([s2[:, 1], -s2[:, 0]], 1)
    q_s2 = 2.0 * d + 2.0 * c * torch.stack([-s1[:, 1], s1[:, 0]], 1)
    t1 = (es2 * ds2 - norm2 * ed) / q
    t2 = (es1 * ds1 - norm1 * ed) / q
    foot1 = _Foot(
        t=t1,
        da=(s2 * ds2 - norm2 * d) / q,
        ds1=(norm2 * e - es2 * s2 - t1 * q_s1) / q,
        ds2=(ds2 * e + es2 * (s2 + d) - 2.0 * ed * s2 - norm2 * e - t1 * q_s2) / q,
    )
    foot2 = _Foot(
        t=t2,
        da=(s1 * ds1 - norm1 * d) / q,
        ds1=(ds1 * e + es1 * (d - s1) - 2.0 * ed * s1 + norm1 * e - t2 * q_s1) / q,
        ds2=(es1 * s1 - norm1 * e - t2 * q_s2) / q,
    )
    return foot1, foot2


def _variances(
    foot1: _Foot,
    foot2: _Foot,
    s1: Float[Tensor, "mu 2"],
    s2: Float[Tensor, "mu 2"],
    track_in: Tracks,
    track_out: Tracks,
) -> tuple[Float[Tensor, "mu 2"], Float[Tensor, "mu 1"]]:
    """Variances of x, y and of z by linear error propagation; the axes are independent."""
    eye = torch.eye(2, dtype=s1.dtype, device=s1.device)

    def outer(du: Float[Tensor, "mu 2"], dv: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 2 2"]:
        return s1[:, :, None] * du[:, None, :] + s2[:, :, None] * dv[:, None, :]

    by_a = outer(foot1.da, foot2.da)
    xy_a1, xy_a2 = 0.5 * (eye - by_a), 0.5 * (eye + by_a)
    xy_s1 = 0.5 * (eye * foot1.t[:, :, None] + outer(foot1.ds1, foot2.ds1))
    xy_s2 = 0.5 * (eye * foot2.t[:, :, None] + outer(foot1.ds2, foot2.ds2))
    z_a = -0.5 * (foot1.da + foot2.da)
    z_s1, z_s2 = -0.5 * (foot1.ds1 + foot2.ds1), -0.5 * (foot1.ds2 + foot2.ds2)
    var_xy = _quadratic(xy_a1, xy_s1, track_in) + _quadratic(xy_a2, xy_s2, track_out)
    var_z = _quadratic(-z_a[:, None], z_s1[:, None], track_in) + _quadratic(
        z_a[:, None], z_s2[:, None], track_out
    )
    return var_xy, var_z


def _quadratic(
    by_offset: Float[Tensor, "mu out 2"], by_slope: Float[Tensor, "mu out 2"], track: Tracks
) -> Float[Tensor, "mu out"]:
    return (
        by_offset**2 * track.var_offset[:, None]
        + 2.0 * by_offset * by_slope * track.cov[:, None]
        + by_slope**2 * track.var_slope[:, None]
    ).sum(-1)


def _dot(u: Float[Tensor, "mu 2"], v: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 1"]:
    return (u * v).sum(1, keepdim=True)


def _cross(u: Float[Tensor, "mu 2"], v: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 1"]:
    return (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])[:, None]
