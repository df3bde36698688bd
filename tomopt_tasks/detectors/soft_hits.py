"""Hits on panels with soft edges, and their derivatives.

With a response r in (0, 1] per axis, sigma = 1 / (resolution r) and the probability of a hit is
efficiency r_x r_y; derivatives are those of logarithms. r depends on the ratio of the offset to the
width of the panel, so that one derivative serves both.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.detectors.response import (
    gaussian_falloff,
    gaussian_response,
    sigmoid_falloff,
    sigmoid_response,
)
from tomopt_tasks.kernels import Blockwise, kernel


class Measured(NamedTuple):
    """What soft panels measure."""

    residual: Float[Tensor, "panel axis mu"]
    """Measured minus true position [m]."""
    sigma: Float[Tensor, "panel axis mu"]
    """Its standard deviation [m]."""
    efficiency: Float[Tensor, "panel mu"]
    """Probability of a hit."""


def offsets_from(
    offset: Float[Tensor, "axis mu"],
    slope: Float[Tensor, "axis mu"],
    depth: Float[Tensor, " panel"],
    xy: Float[Tensor, "panel axis"],
) -> Float[Tensor, "panel axis mu"]:
    """Where lines cross panels, from the centres of these [m].

    Args:
        offset: of the lines at their reference plane [m].
        slope: change per unit of depth.
        depth: of the panels below that plane [m].
        xy: centres of the panels [m].
    """
    return torch.addcmul(offset, depth[:, None, None], slope) - xy[..., None]


def measured(
    response: Float[Tensor, "panel axis mu"],
    noise: Float[Tensor, "panel axis mu"],
    resolution: Float[Tensor, " panel"],
    efficiency: Float[Tensor, " panel"],
    *,
    blurs: bool = True,
) -> Measured:
    """Hits of panels that respond so.

    Args:
        response: in (0, 1], see :mod:`.response`.
        noise: standard normal numbers.
        resolution: of the panels [1/m].
        efficiency: of the panels.
        blurs: whether hits blur as they fade.
    """
    kept = response if blurs else torch.ones_like(response)
    sigma = 1.0 / (resolution[:, None, None] * kept)
    seen = efficiency[:, None] * (response[:, 0] * response[:, 1])
    return Measured(noise * sigma, sigma, seen)


@kernel
def _gaussian(
    offset: Float[Tensor, "axis mu"],
    slope: Float[Tensor, "axis mu"],
    noise: Float[Tensor, "panel axis mu"],
    depth: Float[Tensor, " panel"],
    xy: Float[Tensor, "panel axis"],
    span: Float[Tensor, "panel axis"],
    resolution: Float[Tensor, " panel"],
    efficiency: Float[Tensor, " panel"],
) -> Measured:
    where = offsets_from(offset, slope, depth, xy)
    return measured(gaussian_response(where, span[..., None]), noise, resolution, efficiency)


@kernel
def _sigmoid(
    offset: Float[Tensor, "axis mu"],
    slope: Float[Tensor, "axis mu"],
    noise: Float[Tensor, "panel axis mu"],
    depth: Float[Tensor, " panel"],
    xy: Float[Tensor, "panel axis"],
    span: Float[Tensor, "panel axis"],
    resolution: Float[Tensor, " panel"],
    efficiency: Float[Tensor, " panel"],
    smooth: Float[Tensor, " panel"],
) -> Measured:
    where = offsets_from(offset, slope, depth, xy)
    response = sigmoid_response(where, span[..., None], smooth[:, None, None])
    return measured(response, noise, resolution, efficiency)


class _Slopes(NamedTuple):
    """Derivatives with respect to panels; lines, noise and the width of edges have none."""

    depth: Float[Tensor, " panel"]
    xy: Float[Tensor, "panel axis"]
    span: Float[Tensor, "panel axis"]
    resolution: Float[Tensor, " panel"]
    efficiency: Float[Tensor, " panel"]


@kernel
def _gaussian_slopes(
    offset: Float[Tensor, "axis mu"],
    slope: Float[Tensor, "axis mu"],
    noise: Float[Tensor, "panel axis mu"],
    depth: Float[Tensor, " panel"],
    xy: Float[Tensor, "panel axis"],
    span: Float[Tensor, "panel axis"],
    resolution: Float[Tensor, " panel"],
    efficiency: Float[Tensor, " panel"],
    by_residual: Float[Tensor, "panel axis mu"],
    by_sigma: Float[Tensor, "panel axis mu"],
    by_efficiency: Float[Tensor, "panel mu"],
) -> _Slopes:
    where = offsets_from(offset, slope, depth, xy)
    falloff = gaussian_falloff(where, span[..., None])
    by_sigma = by_sigma.addcmul(noise, by_residual)
    return _slopes(slope, where, span, falloff, (resolution, efficiency), by_sigma, by_efficiency)


@kernel
def _sigmoid_slopes(
    offset: Float[Tensor, "axis mu"],
    slope: Float[Tensor, "axis mu"],
    noise: Float[Tensor, "panel axis mu"],
    depth: Float[Tensor, " panel"],
    xy: Float[Tensor, "panel axis"],
    span: Float[Tensor, "panel axis"],
    resolution: Float[Tensor, " panel"],
    efficiency: Float[Tensor, " panel"],
    smooth: Float[Tensor, " panel"],
    by_residual: Float[Tensor, "panel axis mu"],
    by_sigma: Float[Tensor, "panel axis mu"],
    by_efficiency: Float[Tensor, "panel mu"],
) -> _Slopes:
    where = offsets_from(offset, slope, depth, xy)
    falloff = sigmoid_falloff(where, span[..., None], smooth[:, None, None])
    by_sigma = by_sigma.addcmul(noise, by_residual)
    return _slopes(slope, where, span, falloff, (resolution, efficiency), by_sigma, by_efficiency)


def _slopes(
    slope: Tensor,
    where: Tensor,
    span: Tensor,
    falloff: tuple[Tensor, Tensor],
    numbers: tuple[Tensor, Tensor],
    by_sigma: Tensor,
    by_seen: Tensor,
) -> _Slopes:
    """By logarithms: sigma = 1 / (resolution response), seen = efficiency response_x response_y."""
    (response, by_ratio), (resolution, efficiency) = falloff, numbers
    log_sigma = by_sigma / (resolution[:, None, None] * response)
    by_efficiency = by_seen * (response[:, 0] * response[:, 1])
    log_seen = efficiency[:, None] * by_efficiency
    log_ratio = (log_seen[:, None] - log_sigma) * by_ratio
    by_where = log_ratio / where.where(where != 0.0, 1.0)
    return _Slopes(
        depth=(by_where * slope).sum((1, 2)),
        xy=-by_where.sum(2),
        span=-log_ratio.sum(2) / span,
        resolution=-log_sigma.sum((1, 2)) / resolution,
        efficiency=by_efficiency.sum(1),
    )


gaussian_hits = Blockwise(_gaussian, _gaussian_slopes)
"""What panels with :func:`.gaussian_response` measure; arguments as ``_gaussian`` names them."""
sigmoid_hits = Blockwise(_sigmoid, _sigmoid_slopes)
"""What panels with :func:`.sigmoid_response` measure; ``smooth`` comes last."""
