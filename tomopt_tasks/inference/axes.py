"""How the scattering of a muon is shared among the cells along one axis of the voxel grid.

A position with a normal error belongs to a cell with the probability between its two edges; what
lies beyond the grid belongs to the border cells, since nothing but the object scatters. The shares
of an axis thus add up to one, no difference of two numbers near one occurs, and the share of a
far-away muon is one at the nearest cell instead of noise or a floor (D-61).
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

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
    scaled = (edges - position[..., None]) / (sigma[..., None] + SIGMA_FLOOR)
    return _shares(0.5 * torch.erfc(math.sqrt(0.5) * scaled.abs()), scaled < 0)


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
    scaled = (edges - middle[..., None]) / (scale[..., None] + SIGMA_FLOOR)
    return _shares(student4_tail(scaled), scaled < 0)


def student4_tail(u: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Probability that Student's t with four degrees of freedom lies beyond ``|u|``, on one side.

    With s = |u| / sqrt(4 + u^2) it is (2 - 3 s + s^3) / 4 = (1 - s)^2 (2 + s) / 4, where
    1 - s = 4 / ((4 + u^2) (1 + s)) keeps the precision of the tail.
    """
    whole = 4.0 + u * u
    s = u.abs() / torch.sqrt(whole)
    return (4.0 / (whole * (1.0 + s))) ** 2 * (2.0 + s) / 4.0


def _shares(
    tail: Float[Tensor, "*mu edge"], left: Bool[Tensor, "*mu edge"]
) -> Float[Tensor, "*mu cell"]:
    """Differences of a cumulative distribution, taken on the side where it is small.

    Args:
        tail: probability beyond each edge, on the side away from the mean.
        left: whether the edge lies to the left of the mean.
    """
    below = torch.where(left, tail, 1.0 - tail)
    above = torch.where(left, 1.0 - tail, tail)
    inner = torch.where(
        left[..., 1:], below[..., 1:] - below[..., :-1], above[..., :-1] - above[..., 1:]
    )
    if tail.shape[-1] == 0:
        return torch.ones((*tail.shape[:-1], 1), dtype=tail.dtype, device=tail.device)
    return torch.cat([below[..., :1], inner, above[..., -1:]], -1)
