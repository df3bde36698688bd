"""Point of closest approach of two tracks and its uncertainty, in closed form.

Notation: lines a_i + s_i * t in depth t below the plane of reference, i = 1 in, 2 out; direction
v_i = (s_i, 1); d = s_2 - s_1; e = a_2 - a_1; n = v_1 x v_2. The common perpendicular has its feet
at depths t_1 = e.(s_2 (d.s_2) - |v_2|^2 d) / |n|^2 and t_2 = e.(s_1 (d.s_1) - |v_1|^2 d) / |n|^2,
which follow from t_i = det(e, v_j, n) / |n|^2 and v x (v x w) = v (v.w) - w |v|^2. Everything is
written in the small differences d and e, so that nothing cancels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.tracks import Tracks, columns

PARALLEL = 1e-24
"""|v1 x v2|^2 below which two tracks count as parallel (an angle of 1e-12 rad)."""
PARALLEL_ROUNDING = 16.0
"""So many roundings of a slope count as parallel, too: all that single precision can tell."""

Pair = tuple[Tensor, ...]
"""Numbers of each muon along x and along y."""


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
    da: Pair  # with respect to a_2; minus this for a_1
    ds1: Pair
    ds2: Pair


class _Derivatives(NamedTuple):
    """Of one coordinate of the midpoint, with respect to the four parameters of one axis."""

    a1: Tensor
    s1: Tensor
    a2: Tensor
    s2: Tensor


def cross_squared(s1: Float[Tensor, "mu 2"], s2: Float[Tensor, "mu 2"]) -> Float[Tensor, " mu"]:
    """|v_1 x v_2|^2 of the directions (s_1, 1) and (s_2, 1)."""
    first, second = s1.unbind(1), s2.unbind(1)
    return _cross_squared(first, _difference(second, first))


def find_poca(track_in: Tracks, track_out: Tracks) -> Poca:
    """Points of closest approach of incoming and outgoing tracks.

    Args:
        track_in: tracks above the object.
        track_out: tracks below it; brought to the reference plane of ``track_in``.
    """
    out = track_out.at(track_in.z)
    a1, s1, s2 = track_in.offset.unbind(1), track_in.slope.unbind(1), out.slope.unbind(1)
    d, e = _difference(s2, s1), _difference(out.offset.unbind(1), a1)
    q = _cross_squared(s1, d)
    least = max(PARALLEL, (PARALLEL_ROUNDING * torch.finfo(q.dtype).eps) ** 2)
    valid = track_in.valid & track_out.valid & (q.detach() > least)
    q = torch.where(valid, q, torch.ones_like(q))
    foot1, foot2 = _feet(s1, s2, d, e, q)
    x, y = (a1[k] + 0.5 * (s1[k] * foot1.t + e[k] + s2[k] * foot2.t) for k in (0, 1))
    z = track_in.z - 0.5 * (foot1.t + foot2.t)
    variances = _variances(foot1, foot2, (s1, s2), track_in, out)
    sigma = torch.sqrt(columns(*variances).clamp_min(1e-30))
    return Poca(xyz=columns(x, y, z), sigma=sigma, valid=valid)


def _feet(s1: Pair, s2: Pair, d: Pair, e: Pair, q: Float[Tensor, " mu"]) -> tuple[_Foot, _Foot]:
    norm1, norm2 = 1.0 + _dot(s1, s1), 1.0 + _dot(s2, s2)
    ds1, ds2, es1, es2, ed = _dot(d, s1), _dot(d, s2), _dot(e, s1), _dot(e, s2), _dot(e, d)
    c = _cross(s1, d)
    per_q = q.reciprocal()
    t1 = (es2 * ds2 - norm2 * ed) * per_q
    t2 = (es1 * ds1 - norm1 * ed) * per_q
    ed2 = 2.0 * ed
    by_a1, by_a2, by_s11, by_s12, by_s21, by_s22 = [], [], [], [], [], []
    turned1, turned2 = (s2[1], -s2[0]), (-s1[1], s1[0])
    for k in (0, 1):
        q_s1 = 2.0 * (c * turned1[k] - d[k])
        q_s2 = 2.0 * (c * turned2[k] + d[k])
        by_a1.append((s2[k] * ds2 - norm2 * d[k]) * per_q)
        by_a2.append((s1[k] * ds1 - norm1 * d[k]) * per_q)
        along1, along2 = norm1 * e[k], norm2 * e[k]
        by_s11.append((along2 - es2 * s2[k] - t1 * q_s1) * per_q)
        by_s12.append(
            (ds2 * e[k] + es2 * (s2[k] + d[k]) - ed2 * s2[k] - along2 - t1 * q_s2) * per_q
        )
        by_s21.append(
            (ds1 * e[k] + es1 * (d[k] - s1[k]) - ed2 * s1[k] + along1 - t2 * q_s1) * per_q
        )
        by_s22.append((es1 * s1[k] - along1 - t2 * q_s2) * per_q)
    return (
        _Foot(t1, (*by_a1,), (*by_s11,), (*by_s12,)),
        _Foot(t2, (*by_a2,), (*by_s21,), (*by_s22,)),
    )


def _variances(
    foot1: _Foot, foot2: _Foot, slopes: tuple[Pair, Pair], track_in: Tracks, track_out: Tracks
) -> Pair:
    """Variances of x, y and z by linear error propagation; the axes are independent."""
    covariances = [_covariance(track) for track in (track_in, track_out)]
    result = []
    for s1, s2, of in zip(*slopes, (0, 1), strict=True):
        by_axis = [_lateral(foot1, foot2, (s1, s2), axis, own=axis == of) for axis in (0, 1)]
        result.append(_propagated(by_axis, covariances))
    by_axis = [_vertical(foot1, foot2, axis) for axis in (0, 1)]
    return *result, _propagated(by_axis, covariances)


def _lateral(foot1: _Foot, foot2: _Foot, slope: Pair, axis: int, *, own: bool) -> _Derivatives:
    """Of the midpoint along an axis with these slopes; ``own``: with respect to the same axis."""
    s1, s2 = slope
    by_a = 0.5 * (s1 * foot1.da[axis] + s2 * foot2.da[axis])
    by_s1 = 0.5 * (s1 * foot1.ds1[axis] + s2 * foot2.ds1[axis])
    by_s2 = 0.5 * (s1 * foot1.ds2[axis] + s2 * foot2.ds2[axis])
    if not own:
        return _Derivatives(-by_a, by_s1, by_a, by_s2)
    return _Derivatives(0.5 - by_a, by_s1 + 0.5 * foot1.t, 0.5 + by_a, by_s2 + 0.5 * foot2.t)


def _vertical(foot1: _Foot, foot2: _Foot, axis: int) -> _Derivatives:
    """Of the depth of the midpoint."""
    by_a, by_s1, by_s2 = (
        0.5 * (one[axis] + other[axis]) for one, other in zip(foot1[1:], foot2[1:], strict=True)
    )
    return _Derivatives(-by_a, by_s1, by_a, by_s2)


def _covariance(track: Tracks) -> list[tuple[Tensor, ...]]:
    """Variance of the offset, covariance, variance of the slope; axis by axis."""
    parts = (track.var_offset, track.cov, track.var_slope)
    return list(zip(*(part.unbind(1) for part in parts), strict=True))


def _propagated(
    by_axis: Sequence[_Derivatives], covariances: Sequence[Sequence[tuple[Tensor, ...]]]
) -> Float[Tensor, " mu"]:
    """Variance of a coordinate from its derivatives and the covariances of both tracks."""
    terms = []
    for axis, by in enumerate(by_axis):
        for (by_a, by_s), track in zip((by[:2], by[2:]), covariances, strict=True):
            var_a, cov, var_s = track[axis]
            terms.append(by_a * (by_a * var_a + 2.0 * (by_s * cov)) + by_s * by_s * var_s)
    return reduce(torch.add, terms)


def _difference(u: Pair, v: Pair) -> Pair:
    return u[0] - v[0], u[1] - v[1]


def _dot(u: Pair, v: Pair) -> Float[Tensor, " mu"]:
    return u[0] * v[0] + u[1] * v[1]


def _cross(u: Pair, v: Pair) -> Float[Tensor, " mu"]:
    return u[0] * v[1] - u[1] * v[0]


def _cross_squared(s1: Pair, d: Pair) -> Float[Tensor, " mu"]:
    return _dot(d, d) + _cross(s1, d).square()
