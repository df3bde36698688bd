"""Weighted fit of a straight line to the hits of each muon, with its covariance and derivatives.

For panels p at depths t with weights w = (efficiency / sigma)^2, W = sum w, centre c = sum w t / W,
levers l = t - c and S = sum w l^2, slope and offset are sums of coefficient times residual:
g = w l / S for the slope, o = w / W - c g for the offset. Their covariance for hits of standard
deviation sigma is sum o^2 sigma^2, sum o g sigma^2, sum g^2 sigma^2.

Muons are independent: they are fitted block by block, so that all that a block needs stays in the
caches, and the coefficients are formed again in the backward pass.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 4096
"""Muons that are fitted at a time; the gradients of the depths are added in this order."""
LEAST_SPREAD = 1e-30
"""Weighted square of the levers, for a largest weight of one, that makes a line [m2]."""


class FittedLines(NamedTuple):
    """Deviations of fitted lines from the known ones, both axes, at the reference plane."""

    offset: Float[Tensor, "axis mu"]
    """[m]"""
    slope: Float[Tensor, "axis mu"]
    var_offset: Float[Tensor, "axis mu"]
    """[m2]"""
    cov: Float[Tensor, "axis mu"]
    """[m]"""
    var_slope: Float[Tensor, "axis mu"]
    valid: Bool[Tensor, " mu"]
    """Whether there is weight at two depths, on both axes."""


def fit_lines(
    depth: Float[Tensor, " panel"],
    seen: Float[Tensor, "panel mu"],
    residual: Float[Tensor, "panel axis mu"],
    sigma: Float[Tensor, "panel axis mu"],
) -> FittedLines:
    """Fit every muon on every axis by itself; differentiable once in all arguments.

    Args:
        depth: of the panels below the reference plane [m].
        seen: how much each hit counts, >= 0; zero for hits that are missing.
        residual: measured minus known position [m].
        sigma: standard deviation of each hit [m]; > 0.
    """
    fitted: tuple[Tensor, ...] = _LineFit.apply(  # type: ignore[no-untyped-call]
        depth, seen, residual, sigma
    )
    return FittedLines(*fitted)


class _Fit(NamedTuple):
    """The coefficients of a block and what they are made from; see the top of this module."""

    scale: Tensor
    weight: Tensor
    total: Tensor
    centre: Tensor
    lever: Tensor
    spread: Tensor
    slope: Tensor
    offset: Tensor
    valid: Tensor


def _coefficients(depth: Tensor, seen: Tensor, sigma: Tensor) -> _Fit:
    """Weights are relative to the largest, before they are squared: faint ones do not underflow."""
    ratio = seen[:, None] / sigma
    peak = ratio.amax(0)
    some = peak > 0
    scale = torch.where(some, peak, 1.0).reciprocal_()
    weight = (ratio * scale).square_()
    total = torch.where(some, weight.sum(0), 1.0)
    share = weight / total
    centre = (share * depth).sum(0)
    lever = depth - centre
    moment = weight * lever
    spread = (moment * lever).sum(0)
    valid = some & (spread > LEAST_SPREAD)
    spread = torch.where(valid, spread, 1.0)
    slope = moment.div_(spread)
    offset = share.sub_(centre * slope)
    return _Fit(scale, weight, total, centre, lever, spread, slope, offset, valid)


class _LineFit(torch.autograd.Function):
    """Forward and backward of :func:`fit_lines`."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(*inputs)
        depth, seen, residual, sigma = inputs
        out = residual.new_empty(5, *residual.shape[1:])
        valid = torch.empty(residual.shape[1:], dtype=torch.bool, device=residual.device)
        for part in _blocks(residual.shape[2]):
            r, s = residual[..., part], sigma[..., part]
            fit = _coefficients(depth[:, None, None], seen[:, part], s)
            offset_width, slope_width = fit.offset * s, fit.slope * s
            torch.sum(fit.offset * r, 0, out=out[0, :, part])
            torch.sum(fit.slope * r, 0, out=out[1, :, part])
            torch.sum(offset_width.square(), 0, out=out[2, :, part])
            torch.sum(offset_width * slope_width, 0, out=out[3, :, part])
            torch.sum(slope_width.square_(), 0, out=out[4, :, part])
            valid[:, part] = fit.valid
        both = valid.all(0)
        ctx.mark_non_differentiable(both)
        return (*out.unbind(), both)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        depth, seen, residual, sigma = ctx.saved_tensors
        by_depth = torch.zeros_like(depth)
        by_seen, by_residual, by_sigma = (torch.empty_like(x) for x in (seen, residual, sigma))
        for part in _blocks(residual.shape[2]):
            r, s = residual[..., part], sigma[..., part]
            fit = _coefficients(depth[:, None, None], seen[:, part], s)
            by = [grad[:, part] for grad in grads[:5]]
            torch.mul(by[0], fit.offset, out=by_residual[..., part]).addcmul_(by[1], fit.slope)
            of_offset = (2.0 * by[2] * fit.offset).addcmul_(by[3], fit.slope)
            of_slope = (2.0 * by[4] * fit.slope).addcmul_(by[3], fit.offset)
            direct = (of_offset * fit.offset).addcmul_(of_slope, fit.slope).mul_(s)
            variance = s.square()
            by_offset = of_offset.mul_(variance).addcmul_(by[0], r)
            by_slope = of_slope.mul_(variance).addcmul_(by[1], r)
            by_weight, here = _weight_slopes(fit, by_offset, by_slope)
            by_depth += here.sum((1, 2))
            per_sigma = fit.scale / s
            of_seen = (by_weight * per_sigma).mul_(per_sigma)  # the square alone may overflow
            by_seen[:, part] = of_seen.sum(1).mul_(2.0 * seen[:, part])
            by_weight = by_weight.mul_(fit.weight).div_(s)
            torch.sub(direct, by_weight, alpha=2.0, out=by_sigma[..., part])
        return by_depth, by_seen, by_residual, by_sigma


def _weight_slopes(fit: _Fit, by_offset: Tensor, by_slope: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives with respect to weights and depths, given those to the coefficients.

    With N = sum (by_w/W, by_g) (w / W, g)' over the hits, a weight has
    (1, l) M^-1 ((by_w/W, by_g) - N (1, l)), and a depth w (0, 1) M^-1 of the same less w times the
    trace of M^-1 (0 1; 0 l) N'.
    """
    lever, per_total, per_spread = fit.lever, fit.total.reciprocal(), fit.spread.reciprocal()
    share = fit.weight * per_total
    by_slope = by_slope.addcmul_(fit.centre, by_offset, value=-1.0)
    mixed = (by_offset * fit.slope).sum(0)
    square = (by_slope * fit.slope).sum(0)
    by_offset = by_offset.sub_((by_offset * share).sum(0)).addcmul_(mixed, lever, value=-1.0)
    by_slope = by_slope.sub_((by_slope * share).sum(0)).addcmul_(square, lever, value=-1.0)
    by_slope = by_slope.mul_(per_spread)
    by_weight = by_offset.mul_(per_total).addcmul_(lever, by_slope)
    by_depth = by_slope.addcmul_(square.mul_(per_spread), lever, value=-1.0)
    return by_weight, by_depth.sub_(mixed.mul_(per_total)).mul_(fit.weight)


def _blocks(n_muons: int) -> Iterator[slice]:
    for first in range(0, n_muons, BLOCK):
        yield slice(first, first + BLOCK)
