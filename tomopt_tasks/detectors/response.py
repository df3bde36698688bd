"""How well a panel measures a muon that crosses its plane at a given offset from its centre.

A response is a number in (0, 1] per axis that multiplies the nominal resolution; the product over
the axes multiplies the nominal efficiency. Soft responses let gradients reach position and size.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

RESPONSE_FLOOR = 1e-10
"""Smallest soft response: keeps weights and their gradients finite far outside a panel."""


def gaussian_response(
    offset: Float[Tensor, "..."], span: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """Gaussian fall-off whose two-sigma point is the edge of the panel.

    Args:
        offset: true position minus the centre of the panel [m].
        span: full widths of the panel [m]; broadcast against ``offset``.
    """
    return torch.exp(-8.0 * (offset / span) ** 2).clamp_min(RESPONSE_FLOOR)


def sigmoid_response(
    offset: Float[Tensor, "..."],
    span: Float[Tensor, "..."],
    smooth: Float[Tensor, "..."],
) -> Float[Tensor, "..."]:
    """Flat top with a sigmoid edge: 1 at the centre, about one half at the edge.

    Args:
        offset: true position minus the centre of the panel [m].
        span: full widths of the panel [m].
        smooth: width of the edge in half-widths of the panel; > 0. Small values give a hard edge.
    """
    distance = offset.abs() / (0.5 * span)
    peak = torch.sigmoid(1.0 / smooth)
    return (torch.sigmoid((1.0 - distance) / smooth) / peak).clamp_min(RESPONSE_FLOOR)


def gaussian_falloff(
    offset: Float[Tensor, "..."], span: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """:func:`gaussian_response`, and the derivative of its logarithm by ln(offset).

    That by ln(span) is the opposite, since the response depends on their ratio.
    """
    square = (offset / span) ** 2
    response = torch.exp(-8.0 * square)
    held = response < RESPONSE_FLOOR
    return response.clamp_min_(RESPONSE_FLOOR), (-16.0 * square).masked_fill_(held, 0.0)


def sigmoid_falloff(
    offset: Float[Tensor, "..."], span: Float[Tensor, "..."], smooth: Float[Tensor, "..."]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """The same of :func:`sigmoid_response`."""
    distance = offset.abs() / (0.5 * span)
    edge = torch.sigmoid((1.0 - distance) / smooth)
    response = edge / torch.sigmoid(1.0 / smooth)
    held = response < RESPONSE_FLOOR
    slope = (edge - 1.0) * distance / smooth
    return response.clamp_min_(RESPONSE_FLOOR), slope.masked_fill_(held, 0.0)


def inside(
    offset: Float[Tensor, "*batch 2"], span: Float[Tensor, "*panel 2"]
) -> Bool[Tensor, "*batch"]:
    """Whether the muon crosses the sensitive area (half-open box). Not differentiable."""
    half = 0.5 * span
    return ((offset >= -half) & (offset < half)).all(-1)
