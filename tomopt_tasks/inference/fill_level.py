"""Fill level of a furnace from the heights of the points of closest approach (spec 5.8)."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.detectors.response import sigmoid_response
from tomopt_tasks.inference.poca import Poca

LOWER_QUANTILE = 0.15865
UPPER_QUANTILE = 0.84135
SIGMA_FLOOR = 1e-7
"""Added to the uncertainty of a position before a normal distribution is formed [m]."""


WHOLE = 2.0**32
"""A mass of one in whole numbers, whose sums do not depend on their order on any device."""


class FillLevels(NamedTuple):
    """Fill levels of a batch of volumes."""

    level: Float[Tensor, " vol"]
    """Estimated height [m]; NaN for a volume without any accepted muon."""
    variance: Float[Tensor, " vol"]
    """Variance of the estimate over exposures to other muons [m2], from the scatter of the muons:
    sum w^2 (z - level)^2 / (sum w)^2 (delta method for a ratio of sums)."""


def central_weights(n_cells: int, smooth: float) -> Float[Tensor, " cell"]:
    """Weight of each voxel column along one axis: 1 at the centre, falling towards the walls.

    The sigmoid response of a panel as wide as the volume, rescaled to 2 (m - 1/2) (spec 5.8).

    Args:
        n_cells: number of voxels along the axis.
        smooth: width of the edge in half-widths of the volume; > 0.
    """
    cells = torch.arange(n_cells, dtype=torch.float64, device="cpu")  # a few; the caller moves them
    centres = (cells + 0.5) / n_cells - 0.5
    edge = torch.full_like(cells[:1], smooth)
    response = sigmoid_response(centres[:, None], torch.ones_like(edge), edge)
    return 2.0 * (response[:, 0] - 0.5)


def expected_weight(
    position: Float[Tensor, " mu"],
    sigma: Float[Tensor, " mu"],
    weights: Float[Tensor, " cell"],
    size: float,
) -> Float[Tensor, " mu"]:
    """Mean of a step function over a normal distribution along one axis.

    The sum over cells of (probability of the cell) x (weight of the cell), summed by parts into one
    error function per edge.

    Args:
        position: mean of the normal distribution [m], in the frame of the volume.
        sigma: its standard deviation [m].
        weights: value of the step function per cell; zero outside.
        size: width of a cell [m].
    """
    edges = torch.arange(len(weights) + 1, dtype=position.dtype, device=position.device) * size
    padded = torch.nn.functional.pad(weights.to(position), (1, 1))
    drop = padded[:-1] - padded[1:]
    scaled = (edges - position[:, None]) / (math.sqrt(2.0) * (sigma[:, None] + SIGMA_FLOOR))
    return 0.5 * (torch.erf(scaled) * drop).sum(1)


def quantile_per_row(
    values: Float[Tensor, "vol mu"], mass: Float[Tensor, "vol mu"], q: float
) -> Float[Tensor, "vol 1"]:
    """Quantile of the values of each row, where each entry counts with its mass.

    With masses 0 and 1 it is the value of rank 1 + round(q (n - 1)) among the n entries that count.
    The gradient goes to the entry that is picked. Rows without mass give infinity.

    Args:
        values: what is ordered.
        mass: how much each entry counts, >= 0; carries no gradient.
        q: fraction of the mass below the quantile.
    """
    counts = mass > 0
    ordered, index = torch.where(counts, values, torch.full_like(values, torch.inf)).sort(1)
    below = (mass.gather(1, index) * WHOLE).round().long().cumsum(1) / WHOLE
    needed = q * (below[:, -1:] - 1.0).clamp_min(0.0) + 0.5
    rank = (below < torch.minimum(needed, below[:, -1:])).sum(1, keepdim=True)
    return ordered.gather(1, rank.clamp_max(values.shape[1] - 1))


def clip_between(
    values: Float[Tensor, "vol mu"],
    low: Float[Tensor, "vol 1"] | None,
    high: Float[Tensor, "vol 1"],
) -> Float[Tensor, "vol mu"]:
    """Values held between per-row limits; gradients flow to the limit where it is active."""
    held = torch.minimum(values, high)
    return held if low is None else torch.maximum(held, low)


def fill_level(
    poca: Poca,
    accepted: Float[Tensor, " mu"],
    n_volumes: int,
    columns: tuple[Float[Tensor, " nx"], Float[Tensor, " ny"]],
    size: float,
    *,
    detach_quantiles: bool,
    weighted_quantiles: bool = True,
) -> FillLevels:
    """Weighted mean height of the points of closest approach of each volume [m].

    weight = centrality x acceptance / sigma_z^2, where sigma_z is clipped to its central quantiles
    (15.9 and 84.1 %) and the weights to their upper quantile, per volume (spec 5.8).

    Args:
        poca: points of closest approach, all volumes one after the other, equally many each.
        accepted: probability that the muon is accepted.
        n_volumes: number of volumes in the batch.
        columns: weight of the voxel columns along x and along y.
        size: voxel size [m].
        detach_quantiles: treat the quantiles as constants (the behaviour of TomOpt).
        weighted_quantiles: each muon counts with its probability of acceptance, so that soft
            edges approach hard ones; False: all muons alike (the behaviour of TomOpt).
    """
    used = (poca.valid & (accepted > 0)).view(n_volumes, -1)
    height = poca.xyz[:, 2].view(n_volumes, -1)
    z = torch.where(used, height, torch.zeros_like(height))
    sigma = torch.where(used, poca.sigma[:, 2].view(n_volumes, -1), torch.ones_like(z))
    centrality = expected_weight(poca.xyz[:, 0], poca.sigma[:, 0], columns[0], size)
    centrality = centrality * expected_weight(poca.xyz[:, 1], poca.sigma[:, 1], columns[1], size)
    mass = accepted.detach().view(n_volumes, -1) if weighted_quantiles else torch.ones_like(z)
    mass = torch.where(used, mass, torch.zeros_like(mass))
    low = quantile_per_row(sigma, mass, LOWER_QUANTILE)
    high = quantile_per_row(sigma, mass, UPPER_QUANTILE)
    if detach_quantiles:
        low, high = low.detach(), high.detach()
    sigma = clip_between(sigma, low, high)
    product = (centrality * accepted).view(n_volumes, -1)
    weight = torch.where(used, product, torch.zeros_like(z)) / sigma**2
    limit = quantile_per_row(weight, mass, UPPER_QUANTILE)
    weight = clip_between(weight, None, limit.detach() if detach_quantiles else limit)
    weight = torch.where(used, weight, torch.zeros_like(weight))
    total = weight.sum(1)
    some = total > 0
    total = torch.where(some, total, torch.ones_like(total))
    level = (weight * z).sum(1) / total
    variance = ((weight * (z - level[:, None])) ** 2).sum(1) / total**2
    nothing = torch.full_like(level, torch.nan)
    return FillLevels(torch.where(some, level, nothing), torch.where(some, variance, nothing))
