"""Point of closest approach of two tracks and its uncertainty, in closed form.

Notation: lines a_i + s_i * t in depth t below the plane of reference, i = 1 in, 2 out; direction
v_i = (s_i, 1); d = s_2 - s_1; e = a_2 - a_1; n = v_1 x v_2. The common perpendicular has its feet
at depths t_1 = e.(s_2 (d.s_2) - |v_2|^2 d) / |n|^2 and t_2 = e.(s_1 (d.s_1) - |v_1|^2 d) / |n|^2,
which follow from t_i = det(e, v_j, n) / |n|^2 and v x (v x w) = v (v.w) - w |v|^2. Everything is
written in the small differences d and e, so that nothing cancels.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.tracks import Tracks

PARALLEL = 1e-24
"""|v1 x v2|^2 below which two tracks count as parallel (an angle of 1e-12 rad)."""
PARALLEL_ROUNDING = 16.0
"""So many roundings of a slope count as parallel, too: all that single precision can tell."""

Pair = Float[Tensor, "axis mu"]
"""Numbers of each muon along x and along y."""
BLOCK = 4096
"""Muons whose points are formed at a time, so that all they need stays in the caches."""


@dataclass(frozen=True, slots=True)
class Poca:
    """Midpoint of the common perpendicular."""

    xyz: Float[Tensor, "mu 3"]
    """Position [m]."""
    sigma: Float[Tensor, "mu 3"]
    """Standard deviation per coordinate from the track covariances [m]."""
    valid: Bool[Tensor, " mu"]
    """False for parallel or missing tracks, whose numbers are finite but meaningless."""


class _Foot(NamedTuple):
    """Depth of one foot of the perpendicular and its derivatives along each axis."""

    t: Float[Tensor, " mu"]
    by: Float[Tensor, "parameter axis mu"]
    """With respect to a_2 (minus this for a_1), s_1 and s_2."""


def cross_squared(s1: Float[Tensor, "mu 2"], s2: Float[Tensor, "mu 2"]) -> Float[Tensor, " mu"]:
    """|v_1 x v_2|^2 of the directions (s_1, 1) and (s_2, 1)."""
    d = (s2 - s1).t()
    return _dot(d, d) + _cross(s1.t(), d).square()


def find_poca(track_in: Tracks, track_out: Tracks) -> Poca:
    """Points of closest approach of incoming and outgoing tracks.

    Args:
        track_in: tracks above the object.
        track_out: tracks below it; brought to the reference plane of ``track_in``.
    """
    numbers = torch.stack([_rows(track_in), _rows(track_out.at(track_in.z))])
    both = track_in.valid & track_out.valid
    blocks = [
        _points(block, here)
        for block, here in zip(numbers.split(BLOCK, -1), both.split(BLOCK), strict=True)
    ]
    xyd, sigma, valid = blocks[0] if len(blocks) == 1 else map(_joined, zip(*blocks, strict=True))
    return Poca(
        xyz=torch.stack([xyd[0], xyd[1], track_in.z - xyd[2]]).t(), sigma=sigma.t(), valid=valid
    )


def _joined(parts: tuple[Tensor, ...]) -> Tensor:
    return torch.cat(parts, -1)


def _rows(track: Tracks) -> Float[Tensor, "parameter axis mu"]:
    """Offset, slope, variance of the offset, covariance and variance of the slope."""
    parts = (track.offset, track.slope, track.var_offset, track.cov, track.var_slope)
    return torch.stack([part.t() for part in parts])


def _points(
    numbers: Float[Tensor, "track parameter axis mu"], both: Bool[Tensor, " mu"]
) -> tuple[Tensor, Tensor, Tensor]:
    """x, y and depth of the midpoints, their standard deviations (3, mu), and which are valid."""
    (a1, a2), (s1, s2), *covariance = numbers.unbind(1)
    d, e = s2 - s1, a2 - a1
    c = _cross(s1, d)
    q = _dot(d, d) + c.square()
    least = max(PARALLEL, (PARALLEL_ROUNDING * torch.finfo(q.dtype).eps) ** 2)
    valid = both & (q.detach() > least)
    q = torch.where(valid, q, 1.0)
    foot1, foot2 = _feet((s1, s2), d, e, (c, q))
    xy = a1 + 0.5 * (s1 * foot1.t + e + s2 * foot2.t)
    depth = 0.5 * (foot1.t + foot2.t)
    variance = _variances((foot1, foot2), (s1, s2), covariance)
    return torch.cat([xy, depth[None]]), torch.sqrt(variance.clamp_min(1e-30)), valid


def _feet(
    slopes: tuple[Pair, Pair], d: Pair, e: Pair, normal: tuple[Tensor, Tensor]
) -> tuple[_Foot, _Foot]:
    """Both feet; ``normal`` is the vertical component of n, and |n|^2."""
    (s1, s2), (c, q) = slopes, normal
    norm1, norm2 = 1.0 + _dot(s1, s1), 1.0 + _dot(s2, s2)
    ds1, ds2, es1, es2, ed = _dot(d, s1), _dot(d, s2), _dot(e, s1), _dot(e, s2), _dot(e, d)
    per_q = q.reciprocal()
    t1 = (es2 * ds2 - norm2 * ed) * per_q
    t2 = (es1 * ds1 - norm1 * ed) * per_q
    q_s1 = 2.0 * (c * _turned(s2) - d)
    q_s2 = 2.0 * (d - c * _turned(s1))
    along1, along2, ed2 = norm1 * e, norm2 * e, 2.0 * ed
    by1 = [
        s2 * ds2 - norm2 * d,
        along2 - es2 * s2 - t1 * q_s1,
        ds2 * e + es2 * (s2 + d) - ed2 * s2 - along2 - t1 * q_s2,
    ]
    by2 = [
        s1 * ds1 - norm1 * d,
        ds1 * e + es1 * (d - s1) - ed2 * s1 + along1 - t2 * q_s1,
        es1 * s1 - along1 - t2 * q_s2,
    ]
    return _Foot(t1, torch.stack(by1) * per_q), _Foot(t2, torch.stack(by2) * per_q)


def _variances(
    feet: tuple[_Foot, _Foot], slopes: tuple[Pair, Pair], covariance: list[Tensor]
) -> Float[Tensor, "coordinate mu"]:
    """Variances of x, y and depth by linear error propagation; axes and tracks are independent."""
    (t1, by1), (t2, by2) = feet
    lateral = torch.stack(slopes)[:, :, None, None]
    by = torch.cat([lateral[0] * by1 + lateral[1] * by2, (by1 + by2)[None]])
    own = torch.eye(3, 2, dtype=t1.dtype, device=t1.device)[:, None, :, None]  # x of x, y of y
    by_a = torch.stack([own[:, 0] - by[:, 0], own[:, 0] + by[:, 0]], 1)
    by_s = by[:, 1:] + own * torch.stack([t1, t2])[:, None]
    var_a, cov, var_s = covariance
    terms = by_a * (by_a * var_a + 2.0 * (by_s * cov)) + by_s.square() * var_s
    return 0.25 * terms.sum((1, 2))  # a midpoint is half a sum


def _dot(u: Pair, v: Pair) -> Float[Tensor, " mu"]:
    return (u * v).sum(0)


def _cross(u: Pair, v: Pair) -> Float[Tensor, " mu"]:
    return u[0] * v[1] - u[1] * v[0]


def _turned(u: Pair) -> Pair:
    """A quarter turn: (u_y, -u_x)."""
    return torch.stack([u[1], -u[0]])
