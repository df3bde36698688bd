"""How the scattering of a muon is shared among the cells along one axis of the voxel grid.

A position with a normal error belongs to a cell with the probability between its two edges; what
lies beyond the grid belongs to the border cells, since nothing but the object scatters. The shares
of an axis thus add up to one, no difference of two numbers near one occurs, and the share of a
far-away muon is one at the nearest cell instead of noise or a floor (D-61).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK = 4096
"""Muons whose shares are formed at a time; changes no result."""

SIGMA_FLOOR = 1e-7
"""Added to every uncertainty of a position [m], so that perfect detectors have densities (D-51)."""


def inner_edges(low: float, size: float, like: Tensor, n_cells: int) -> Float[Tensor, " edge"]:
    """Heights or positions of the borders between cells [m], in the dtype of ``like``."""
    return low + size * torch.arange(1, n_cells, dtype=like.dtype, device=like.device)


def normal_shares(
    position: Float[Tensor, "*mu"],
    sigma: Float[Tensor, "*mu"],
    edges: Float[Tensor, " edge"],
) -> Float[Tensor, "*mu cell"]:
    """Probability of each cell for a position with a normal error.

    Args:
        position: mean [m].
        sigma: standard deviation [m]; >= 0.
        edges: borders between cells, ascending [m]; the outermost cells have no outer border.
    """
    return _located(position, sigma, edges, NORMAL)


def uniform_shares(
    middle: Float[Tensor, "*mu"],
    scale: Float[Tensor, "*mu"],
    edges: Float[Tensor, " edge"],
) -> Float[Tensor, "*mu cell"]:
    """Share of each layer in the squared scattering angle if the path were in uniform matter.

    In uniform matter the lateral displacement belongs to a depth L (1/2 + xi / (sqrt(12) r)), where
    r is the deflection in units of its width, in two planes, and xi is standard normal. Weighted
    with r^2, the depth follows Student's distribution with four degrees of freedom.

    Args:
        middle: middle of the path [m].
        scale: L / (2 sqrt(12)), or more where hits are not perfect [m].
        edges: borders between layers, ascending [m].
    """
    return _located(middle, scale, edges, STUDENT4)


def student4_tail(u: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Probability that Student's t with four degrees of freedom lies beyond ``|u|``, on one side.

    With s = |u| / sqrt(4 + u^2) it is (2 - 3 s + s^3) / 4 = (1 - s)^2 (2 + s) / 4, where
    1 - s = 4 / ((4 + u^2) (1 + s)) keeps the precision of the tail.
    """
    whole = 4.0 + u * u
    s = u.abs() / torch.sqrt(whole)
    return (4.0 / (whole * (1.0 + s))) ** 2 * (2.0 + s) / 4.0


def _fifth_power(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    return x.square().square_().mul_(x)


class Family(NamedTuple):
    """Distributions of one shape; ``u`` is the distance from the middle in units of the scale."""

    tail: Callable[[Tensor], Tensor]
    """Probability beyond ``|u|``, on one side."""
    density: Callable[[Tensor], Tensor]


NORMAL = Family(
    tail=lambda u: torch.erfc(u.abs().mul_(math.sqrt(0.5))).mul_(0.5),
    density=lambda u: torch.exp(u.square().mul_(-0.5)).mul_(1.0 / math.sqrt(2.0 * math.pi)),
)
STUDENT4 = Family(
    tail=student4_tail,
    density=lambda u: _fifth_power((1.0 + 0.25 * u.square()).rsqrt_()).mul_(0.375),
)


def _located(
    middle: Float[Tensor, "*mu"],
    scale: Float[Tensor, "*mu"],
    edges: Float[Tensor, " edge"],
    family: Family,
) -> Float[Tensor, "*mu cell"]:
    """Shares of cells; in memory cell by cell, so that arithmetic runs along muons."""
    shares: Tensor = _Shares.apply(middle, scale + SIGMA_FLOOR, edges, family)  # type: ignore[no-untyped-call]
    return shares.movedim(0, -1)


class _Shares(torch.autograd.Function):
    """Shares of cells in front of the axes of muons; their derivatives are densities at edges.

    Formed block by block and formed again in the backward pass: temporaries stay in the caches.
    """

    @staticmethod
    def forward(ctx: Any, middle: Tensor, scale: Tensor, edges: Tensor, family: Family) -> Tensor:
        ctx.save_for_backward(middle, scale, edges)
        ctx.family = family
        shares = middle.new_empty(len(edges) + 1, middle.numel())
        for part, u, _ in _blocks(middle, scale, edges):
            _share(family.tail(u).copysign_(u), shares[:, part])
        return shares.view(-1, *middle.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        middle, scale, edges = ctx.saved_tensors
        by_share = grads[0].flatten(1)
        by_middle, by_scale = (middle.new_empty(middle.numel()) for _ in range(2))
        for part, u, width in _blocks(middle, scale, edges):
            by_edge = by_share[:-1, part] - by_share[1:, part]
            by_edge *= ctx.family.density(u)
            by_middle[part] = by_edge.sum(0).div_(width).neg_()
            by_scale[part] = by_edge.mul_(u).sum(0).div_(width).neg_()
        return by_middle.view(middle.shape), by_scale.view(middle.shape), None, None


def _blocks(
    middle: Tensor, scale: Tensor, edges: Tensor
) -> Iterator[tuple[slice, Float[Tensor, "edge ..."], Tensor]]:
    """Some muons, distances of the edges from their middles in units of the scale, and that."""
    middle, scale = middle.reshape(-1), scale.reshape(-1)
    for first in range(0, len(middle), BLOCK):
        part = slice(first, first + BLOCK)
        yield part, (edges[:, None] - middle[part]).div_(scale[part]), scale[part]


def _share(tail: Float[Tensor, "edge n"], out: Float[Tensor, "cell n"]) -> None:
    """Writes the differences of a cumulative distribution, taken on the side where it is small.

    Between two edges on one side of the mean lies the difference of their tails; the cell of the
    mean has what both leave of one.

    Args:
        tail: probability beyond each edge, on the side away from the mean; negative on the left.
        out: shares of the cells.
    """
    if len(tail) == 0:
        out.fill_(1.0)
        return
    side = torch.full_like(tail, 0.5).copysign_(tail)
    torch.sub(side[0] + 0.5, tail[0], out=out[0])
    torch.sub(tail[:-1], tail[1:], out=out[1:-1]).add_(side[1:] - side[:-1])
    torch.add(0.5 - side[-1], tail[-1], out=out[-1])
