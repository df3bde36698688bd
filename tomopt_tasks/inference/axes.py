"""How the scattering of a muon is shared among the cells along one axis of the voxel grid.

A position with a normal error belongs to a cell with the probability between its two edges; what
lies beyond the grid belongs to the border cells, since nothing but the object scatters. The shares
of an axis thus add up to one, no difference of two numbers near one occurs, and the share of a
far-away muon is one at the nearest cell instead of noise or a floor (D-61).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.kernels import Blockwise, constants, kernel

SIGMA_FLOOR = 1e-7
"""Added to every uncertainty of a position [m], so that perfect detectors have densities (D-51)."""


def inner_edges(low: float, size: float, like: Tensor, n_cells: int) -> Float[Tensor, " edge"]:
    """Heights or positions of the borders between cells [m], in the dtype of ``like``."""
    return constants(tuple(low + size * k for k in range(1, n_cells)), like)


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
    return _located(_NORMAL, position, sigma, edges)


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
    return _located(_STUDENT4, middle, scale, edges)


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


def _located(
    shares: Blockwise[tuple[Tensor]], middle: Tensor, scale: Tensor, edges: Tensor
) -> Tensor:
    """Shares of cells; in memory cell by cell, so that arithmetic runs along muons."""
    (found,) = shares(middle.reshape(-1), (scale + SIGMA_FLOOR).reshape(-1), edges)
    return found.view(-1, *middle.shape).movedim(0, -1)


Density = Callable[[Tensor], Tensor]


def _normal_tail(u: Tensor) -> Tensor:
    return _flushed(torch.erfc(u.abs().mul_(math.sqrt(0.5))).mul_(0.5))


def _normal_density(u: Tensor) -> Tensor:
    return _flushed(torch.exp(u.square().mul_(-0.5)).mul_(1.0 / math.sqrt(2.0 * math.pi)))


def _flushed(small: Tensor) -> Tensor:
    """Zero where the product of three such numbers is subnormal: processors take long for those.

    In single precision, where that is below 2e-13, they made almost half of the time of a fit.
    """
    least = torch.finfo(small.dtype).tiny ** (1.0 / 3.0)
    return torch.nn.functional.threshold(small, least, 0.0)


def _student4_density(u: Tensor) -> Tensor:
    return _fifth_power((1.0 + 0.25 * u.square()).rsqrt_()).mul_(0.375)


@kernel
def _normal(
    middle: Float[Tensor, " mu"], scale: Float[Tensor, " mu"], edges: Float[Tensor, " edge"]
) -> tuple[Float[Tensor, "cell mu"]]:
    """See :func:`normal_shares`."""
    u = _distances(middle, scale, edges)
    return (_share(_normal_tail(u).copysign_(u)),)


@kernel
def _student4(
    middle: Float[Tensor, " mu"], scale: Float[Tensor, " mu"], edges: Float[Tensor, " edge"]
) -> tuple[Float[Tensor, "cell mu"]]:
    """See :func:`uniform_shares`."""
    u = _distances(middle, scale, edges)
    return (_share(student4_tail(u).copysign_(u)),)


class _Slopes(NamedTuple):
    """Derivatives with respect to the arguments of shares; edges stand still."""

    middle: Float[Tensor, " mu"]
    scale: Float[Tensor, " mu"]


@kernel
def _normal_slopes(
    middle: Float[Tensor, " mu"],
    scale: Float[Tensor, " mu"],
    edges: Float[Tensor, " edge"],
    by_share: Float[Tensor, "cell mu"],
) -> _Slopes:
    return _slopes(middle, scale, edges, by_share, _normal_density)


@kernel
def _student4_slopes(
    middle: Float[Tensor, " mu"],
    scale: Float[Tensor, " mu"],
    edges: Float[Tensor, " edge"],
    by_share: Float[Tensor, "cell mu"],
) -> _Slopes:
    return _slopes(middle, scale, edges, by_share, _student4_density)


def _slopes(
    middle: Tensor, scale: Tensor, edges: Tensor, by_share: Tensor, density: Density
) -> _Slopes:
    """Derivatives of shares are densities at the edges."""
    u = _distances(middle, scale, edges)
    by_edge = (by_share[:-1] - by_share[1:]).mul_(density(u))
    by_middle = by_edge.sum(0).div_(scale).neg_()
    by_scale = by_edge.mul_(u).sum(0).div_(scale).neg_()
    return _Slopes(by_middle, by_scale)


def _distances(middle: Tensor, scale: Tensor, edges: Tensor) -> Float[Tensor, "edge mu"]:
    """Distances of the edges from the middle in units of the scale."""
    return (edges[:, None] - middle).div_(scale)


def _share(tail: Float[Tensor, "edge mu"]) -> Float[Tensor, "cell mu"]:
    """Differences of a cumulative distribution, taken on the side where it is small.

    Between two edges on one side of the mean lies the difference of their tails; the cell of the
    mean has what both leave of one. Beyond the last edges lies one more at infinity.

    Args:
        tail: probability beyond each edge, on the side away from the mean; negative on the left.
    """
    nothing = tail.new_zeros((1, tail.shape[1]))
    whole = torch.cat([-nothing, tail, nothing])
    half = torch.full_like(whole, 0.5).copysign_(whole)
    return (whole[:-1] - whole[1:]).add_(half[1:] - half[:-1])


_NORMAL = Blockwise(_normal, _normal_slopes)
_STUDENT4 = Blockwise(_student4, _student4_slopes)
