"""Weighted fit of a straight line to the hits of each muon, with its covariance and derivatives.

For panels p at depths t with weights w = (efficiency / sigma)^2, W = sum w, centre c = sum w t / W,
levers l = t - c and S = sum w l^2, slope and offset are sums of coefficient times residual:
g = w l / S for the slope, o = w / W - c g for the offset. Their covariance for hits of standard
deviation sigma is sum o^2 sigma^2, sum o g sigma^2, sum g^2 sigma^2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.kernels import Blockwise, kernel

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
    return _FIT(depth, seen, residual, sigma)


class _Coefficients(NamedTuple):
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


def _coefficients(depth: Tensor, seen: Tensor, sigma: Tensor) -> _Coefficients:
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
    return _Coefficients(scale, weight, total, centre, lever, spread, slope, offset, valid)


@kernel
def _fit(
    depth: Float[Tensor, " panel"],
    seen: Float[Tensor, "panel mu"],
    residual: Float[Tensor, "panel axis mu"],
    sigma: Float[Tensor, "panel axis mu"],
) -> FittedLines:
    """See :func:`fit_lines`."""
    fit = _coefficients(depth[:, None, None], seen, sigma)
    offset_width, slope_width = fit.offset * sigma, fit.slope * sigma
    return FittedLines(
        offset=(fit.offset * residual).sum(0),
        slope=(fit.slope * residual).sum(0),
        var_offset=offset_width.square().sum(0),
        cov=(offset_width * slope_width).sum(0),
        var_slope=slope_width.square_().sum(0),
        valid=fit.valid.all(0),
    )


@kernel
def _fit_slopes(
    depth: Float[Tensor, " panel"],
    seen: Float[Tensor, "panel mu"],
    residual: Float[Tensor, "panel axis mu"],
    sigma: Float[Tensor, "panel axis mu"],
    by_offset: Float[Tensor, "axis mu"],
    by_slope: Float[Tensor, "axis mu"],
    by_var_offset: Float[Tensor, "axis mu"],
    by_cov: Float[Tensor, "axis mu"],
    by_var_slope: Float[Tensor, "axis mu"],
) -> tuple[
    Float[Tensor, " panel"],
    Float[Tensor, "panel mu"],
    Float[Tensor, "panel axis mu"],
    Float[Tensor, "panel axis mu"],
]:
    """Derivatives with respect to the arguments of :func:`_fit`."""
    fit = _coefficients(depth[:, None, None], seen, sigma)
    by_residual = (by_offset * fit.offset).addcmul_(by_slope, fit.slope)
    of_offset = (2.0 * by_var_offset * fit.offset).addcmul_(by_cov, fit.slope)
    of_slope = (2.0 * by_var_slope * fit.slope).addcmul_(by_cov, fit.offset)
    direct = (of_offset * fit.offset).addcmul_(of_slope, fit.slope).mul_(sigma)
    variance = sigma.square()
    of_offset = of_offset.mul_(variance).addcmul_(by_offset, residual)
    of_slope = of_slope.mul_(variance).addcmul_(by_slope, residual)
    by_weight, by_depth = _weight_slopes(fit, of_offset, of_slope)
    per_sigma = fit.scale / sigma
    of_seen = (by_weight * per_sigma).mul_(per_sigma)  # the square alone may overflow
    by_seen = of_seen.sum(1).mul_(2.0 * seen)
    by_weight = by_weight.mul_(fit.weight).div_(sigma)
    return by_depth.sum((1, 2)), by_seen, by_residual, direct.sub_(by_weight, alpha=2.0)


def _weight_slopes(
    fit: _Coefficients, by_offset: Tensor, by_slope: Tensor
) -> tuple[Tensor, Tensor]:
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


_FIT = Blockwise(_fit, _fit_slopes)
