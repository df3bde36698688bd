"""Midpoint of the common perpendicular of two lines, its variance, and derivatives of both.

Notation, i = 1, 2 the lines a_i + s_i t in depth t; directions v_i = (s_i, 1); d = s_2 - s_1;
e = a_2 - a_1 in one plane; n = v_1 x v_2 = (-d_y, d_x, s_1 x d); q = |n|^2. The inverse of the
matrix of the v_i . v_j is g, and b_i = sum_j g_ij v_j are the dual directions: b_i . v_j = 1 if
i = j, else 0. The feet of the perpendicular lie at depths t_1 = b_1 . e and t_2 = -b_2 . e; from
one to the other leads w = n (n . e) / q. With h_1 = v_1 / 2, h_2 = -v_2 / 2 the midpoint m follows
the lines by

    dm/da_2 = 1/2 + R,  dm/da_1 = 1/2 - R,  R = h_1 b_1 + h_2 b_2        (outer products)
    dm/ds_i = t_i dm/da_i + k_i w,  k_i = g_i1 h_1 + g_i2 h_2

so that its variance is made from the covariances that the lines have at their feet. All of this
follows from w . v_i = 0. Everything is written in the small differences d and e, so that nothing
cancels.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.kernels import Blockwise, constants, kernel

PARALLEL = 1e-24
"""|v1 x v2|^2 below which two tracks count as parallel (an angle of 1e-12 rad)."""
PARALLEL_ROUNDING = 16.0
"""So many roundings of a slope count as parallel, too: all that single precision can tell."""


class LinePair(NamedTuple):
    """Two lines of each muon with their covariances, x and y independent, each at its own plane."""

    offset: Float[Tensor, "line axis mu"]
    """[m]"""
    slope: Float[Tensor, "line axis mu"]
    var_offset: Float[Tensor, "line axis mu"]
    """[m2]"""
    cov: Float[Tensor, "line axis mu"]
    """[m]"""
    var_slope: Float[Tensor, "line axis mu"]


class Midpoints(NamedTuple):
    """Where two lines come closest."""

    at: Float[Tensor, "xyd mu"]
    """x, y and depth below the plane of the first line [m]."""
    variance: Float[Tensor, "xyd mu"]
    """[m2]"""
    crossing: Bool[Tensor, " mu"]
    """Whether the lines are not parallel; numbers of the others are finite but meaningless."""


def midpoints(lines: LinePair, drop: float) -> Midpoints:
    """Midpoints of the common perpendiculars; differentiable once in all of the lines.

    Args:
        lines: the lines.
        drop: depth of the plane of the second line below that of the first [m].
    """
    return _MIDPOINTS(constants((drop,), lines.offset)[0], *lines)


class _Feet(NamedTuple):
    """The perpendiculars of a block; see the top of this module. Axis xyd is left out for 1."""

    e: Tensor
    """axis mu"""
    normal: Tensor
    """n, axis mu"""
    per_q: Tensor
    inverse: Tensor
    """g, line line mu"""
    dual: Tensor
    """b, line axis mu"""
    half: Tensor
    """h, line xyd mu"""
    t: Tensor
    """line mu"""
    w: Tensor
    """axis mu"""
    crossing: Tensor


def _feet(offset: Tensor, slope: Tensor, drop: Tensor) -> _Feet:
    s1, s2 = slope
    d = s2 - s1
    e = (offset[1] - offset[0]).sub_(drop * s2)
    normal = torch.stack([-d[1], d[0]])
    cross = (normal * s1).sum(0)
    q = d.square().sum(0).addcmul_(cross, cross)
    least = max(PARALLEL, (PARALLEL_ROUNDING * torch.finfo(q.dtype).eps) ** 2)
    crossing = q > least
    per_q = torch.where(crossing, q, 1.0).reciprocal_()
    norm1, norm2 = slope.square().sum(1).add_(1.0)
    between = (s1 * s2).sum(0).add_(1.0).neg_()
    inverse = torch.stack([norm2, between, between, norm1]).mul_(per_q).unflatten(0, (2, 2))
    along1, along2 = (d * slope).sum(1)
    dual = torch.stack([along2 * s2 - norm2 * d, norm1 * d - along1 * s1]).mul_(per_q)
    down = torch.full_like(s1[:1], 0.5)
    half = torch.stack([torch.cat([0.5 * s1, down]), torch.cat([-0.5 * s2, -down])])
    t1, t2 = (dual * e).sum(1)
    t = torch.stack([t1, -t2])
    w = (normal * e).sum(0).mul_(per_q) * normal
    return _Feet(e, normal, per_q, inverse, dual, half, t, w, crossing)


def _response(feet: _Feet) -> tuple[Tensor, Tensor]:
    """dm/da_i, (line, xyd, axis, mu), and k_i, (line, xyd, mu)."""
    half, dual = feet.half, feet.dual
    r = (half[0, :, None] * dual[0]).addcmul_(half[1, :, None], dual[1])
    straight = 0.5 * torch.eye(3, 2, dtype=r.dtype, device=r.device)[..., None]
    by_offset = torch.stack([straight - r, straight + r])
    k = (feet.inverse[:, 0, None] * half[0]).addcmul_(feet.inverse[:, 1, None], half[1])
    return by_offset, k


def _at_feet(feet: _Feet, lines: LinePair, drop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Depth below its own plane, variance of the position, its covariance with the slope."""
    depth = torch.stack([feet.t[0], feet.t[1] - drop])[:, None]
    cov = torch.addcmul(lines.cov, depth, lines.var_slope)
    return depth, (lines.cov + cov).mul_(depth).add_(lines.var_offset), cov


@kernel
def _midpoints(
    drop: Float[Tensor, ""],
    offset: Float[Tensor, "line axis mu"],
    slope: Float[Tensor, "line axis mu"],
    var_offset: Float[Tensor, "line axis mu"],
    cov: Float[Tensor, "line axis mu"],
    var_slope: Float[Tensor, "line axis mu"],
) -> Midpoints:
    """See :func:`midpoints`."""
    feet = _feet(offset, slope, drop)
    middle = (slope * feet.t[:, None]).sum(0).add_(feet.e)
    at = torch.cat([offset[0] + 0.5 * middle, 0.5 * feet.t.sum(0, keepdim=True)])
    by_offset, k = _response(feet)
    _, var, swing_cov = _at_feet(feet, LinePair(offset, slope, var_offset, cov, var_slope), drop)
    swing = k[:, :, None] * feet.w
    total = (by_offset * var[:, None]).addcmul_(swing, swing_cov[:, None], value=2.0)
    total = total.mul_(by_offset).addcmul_(swing.square_(), var_slope[:, None])
    return Midpoints(at, variance=total.sum(0).sum(1), crossing=feet.crossing)


class _Slopes(NamedTuple):
    """Derivatives with respect to the lines of :func:`_midpoints`."""

    offset: Float[Tensor, "line axis mu"]
    slope: Float[Tensor, "line axis mu"]
    var_offset: Float[Tensor, "line axis mu"]
    cov: Float[Tensor, "line axis mu"]
    var_slope: Float[Tensor, "line axis mu"]


@kernel
def _midpoint_slopes(
    drop: Float[Tensor, ""],
    offset: Float[Tensor, "line axis mu"],
    slope: Float[Tensor, "line axis mu"],
    var_offset: Float[Tensor, "line axis mu"],
    cov: Float[Tensor, "line axis mu"],
    var_slope: Float[Tensor, "line axis mu"],
    by_at: Float[Tensor, "xyd mu"],
    by_var: Float[Tensor, "xyd mu"],
) -> _Slopes:
    """Derivatives with respect to the lines, given those to midpoint and variance."""
    feet = _feet(offset, slope, drop)
    by_offset, k = _response(feet)
    lines = LinePair(offset, slope, var_offset, cov, var_slope)
    depth, var, cov = _at_feet(feet, lines, drop)
    swing = k[:, :, None] * feet.w
    weighed, swung = by_var[:, None] * by_offset, by_var[:, None] * swing
    by_variance = (weighed * by_offset).sum(1)
    by_there = (weighed * swing).sum(1).mul_(2.0)
    by_var_slope = (swung * swing).sum(1)
    by_depth = torch.addcmul(by_there * lines.var_slope, by_variance, cov, value=2.0).sum(1)
    by_cov = torch.addcmul(by_there, depth, by_variance)
    by_var_slope.addcmul_(depth, by_cov)
    by_cov.addcmul_(depth, by_variance)
    by_response = (weighed * var[:, None]).addcmul_(swung, cov[:, None]).mul_(2.0)
    by_swing = weighed.mul_(cov[:, None]).addcmul_(swung, lines.var_slope[:, None]).mul_(2.0)
    by_a = (by_offset * by_at[:, None]).sum(1)
    by_s = (depth * by_a).addcmul_((k * by_at).sum(1, keepdim=True), feet.w)
    of_e, of_slope = _perpendicular_slopes(
        feet, by_response[1] - by_response[0], (by_swing * feet.w).sum(2),
        (by_swing * k[:, :, None]).sum((0, 1)), by_depth,
    )  # fmt: skip
    by_a = by_a + torch.stack([-of_e, of_e])
    by_s = by_s.add_(of_slope)
    by_s = by_s + torch.stack([torch.zeros_like(of_e), -drop * of_e])
    return _Slopes(by_a, by_s, by_variance, by_cov, by_var_slope)


def _perpendicular_slopes(
    feet: _Feet, by_r: Tensor, by_k: Tensor, by_w: Tensor, by_t: Tensor
) -> tuple[Float[Tensor, "axis mu"], Float[Tensor, "line axis mu"]]:
    """Derivatives with respect to e and s, given those to R, k, w and t.

    With V = (v_1, v_2), B = (b_1, b_2) and P = n n / q: dB = -B dV' B + P dV g,
    dg = -g (dV' V + V' dV) g, dw = P (de - dV B'e) - B dV'w, d(B'e) = B'(de - dV B'e) + g dV'w.
    """
    half, dual, inverse, normal = feet.half, feet.dual, feet.inverse, feet.normal
    by_half = (by_r[:2] * dual[:, None]).sum(2)
    by_half.addcmul_(inverse[0, :, None], by_k[0, :2]).addcmul_(inverse[1, :, None], by_k[1, :2])
    by_dual = (by_r * half[:, :, None]).sum(1)
    by_inverse = (by_k[:, None] * half).sum(2)
    turned = by_inverse + by_inverse.transpose(0, 1)
    onto = (by_dual[:, None] * dual).sum(2)
    onto.addcmul_(turned[:, :1], inverse[0]).addcmul_(turned[:, 1:], inverse[1])
    by_dot, dot = (torch.stack([t[0], -t[1]]) for t in (by_t, feet.t))  # of B'e
    raised = ((by_dual * normal).sum(1) * feet.per_q)[:, None] * inverse
    by_e = (dual * by_dot[:, None]).sum(0)
    by_e.addcmul_((normal * by_w).sum(0).mul_(feet.per_q), normal)
    along_w = (inverse * by_dot[:, None]).sum(0).sub_((dual * by_w).sum(1))
    by_half[0].mul_(0.5)
    by_half[1].mul_(-0.5)
    by_s = by_half.sub_((dual[:, None] * onto[:, :, None]).sum(0))
    by_s.addcmul_(raised.sum(0)[:, None], normal).addcmul_(along_w[:, None], feet.w)
    return by_e, by_s.addcmul_(dot[:, None], by_e, value=-1.0)


_MIDPOINTS = Blockwise(_midpoints, _midpoint_slopes)
