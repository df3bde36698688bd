"""Fill level of a furnace from the heights of the points of closest approach (spec 5.8)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.detectors.response import sigmoid_response
from tomopt_tasks.inference.exposure import Exposure, totals
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.quantiles import quantile_per_row, quantiles_in_pieces
from tomopt_tasks.inference.replay import Outputs

LOWER_QUANTILE = 0.15865
UPPER_QUANTILE = 0.84135
SIGMA_FLOOR = 1e-7
"""Added to the uncertainty of a position before a normal distribution is formed [m]."""


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


def clip_between(
    values: Float[Tensor, "vol mu"],
    low: Float[Tensor, "vol 1"] | None,
    high: Float[Tensor, "vol 1"],
) -> Float[Tensor, "vol mu"]:
    """Values held between per-row limits; gradients flow to the limit where it is active."""
    held = torch.minimum(values, high)
    return held if low is None else torch.maximum(held, low)


class Heights(NamedTuple):
    """What muons say of the fill level, volume by volume."""

    z: Float[Tensor, "vol mu"]
    """Height of the point of closest approach [m]."""
    sigma: Float[Tensor, "vol mu"]
    """Its standard deviation [m]."""
    product: Float[Tensor, "vol mu"]
    """Centrality times acceptance."""
    mass: Float[Tensor, "vol mu"]
    """How much the muon counts in quantiles; carries no gradient."""
    used: Bool[Tensor, "vol mu"]

    def weight(
        self, low: Float[Tensor, "vol 1"], high: Float[Tensor, "vol 1"]
    ) -> Float[Tensor, "vol mu"]:
        """Weights before they are clipped, with standard deviations held between two quantiles."""
        sigma = clip_between(self.sigma, low, high)
        return torch.where(self.used, self.product, 0.0) / sigma**2

    def clipped(
        self, weight: Float[Tensor, "vol mu"], limit: Float[Tensor, "vol 1"]
    ) -> Float[Tensor, "vol mu"]:
        """Weights held below a limit."""
        return torch.where(self.used, clip_between(weight, None, limit), 0.0)


def heights(
    poca: Poca,
    accepted: Float[Tensor, " mu"],
    n_volumes: int,
    columns: tuple[Float[Tensor, " nx"], Float[Tensor, " ny"]],
    size: float,
    *,
    weighted_quantiles: bool = True,
) -> Heights:
    """What the points of closest approach say of the fill level.

    Args:
        poca: points of closest approach, all volumes one after the other, equally many each.
        accepted: probability that the muon is accepted.
        n_volumes: number of volumes in the batch.
        columns: weight of the voxel columns along x and along y.
        size: voxel size [m].
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
    return Heights(z, sigma, (centrality * accepted).view(n_volumes, -1), mass, used)


def fill_level(muons: Heights | Exposure[Heights], *, detach_quantiles: bool = False) -> FillLevels:
    """Weighted mean height of the points of closest approach of each volume [m].

    weight = centrality x acceptance / sigma_z^2, where sigma_z is clipped to its central quantiles
    (15.9 and 84.1 %) and the weights to their upper quantile, per volume (spec 5.8).

    Args:
        muons: those of some volumes, or of one volume piece by piece.
        detach_quantiles: treat the quantiles as constants (the behaviour of TomOpt).
    """
    if isinstance(muons, Exposure):
        return _level_in_pieces(muons, detach_quantiles=detach_quantiles)
    low = quantile_per_row(muons.sigma, muons.mass, LOWER_QUANTILE)
    high = quantile_per_row(muons.sigma, muons.mass, UPPER_QUANTILE)
    if detach_quantiles:
        low, high = low.detach(), high.detach()
    weight = muons.weight(low, high)
    limit = quantile_per_row(weight, muons.mass, UPPER_QUANTILE)
    weight = muons.clipped(weight, limit.detach() if detach_quantiles else limit)
    total, moment = _weight_sums(muons, weight)
    return _levels(total, moment, _spread(muons, weight, _level(total, moment)[0]))


def _level_in_pieces(exposure: Exposure[Heights], *, detach_quantiles: bool) -> FillLevels:
    """The same for muons that are not in memory at once.

    The quantiles are found first; which muon has them, so that gradients go there, is a sum over
    muons like all that follows.
    """
    low, high = quantiles_in_pieces(
        exposure, lambda some: (some.sigma, some.mass), (LOWER_QUANTILE, UPPER_QUANTILE)
    )
    (limit,) = quantiles_in_pieces(
        exposure, lambda some: (some.weight(low, high), some.mass), (UPPER_QUANTILE,)
    )

    def widths(some: Heights, _: Sequence[Outputs]) -> Outputs:
        return *_sum_there(some.sigma, some.mass, low), *_sum_there(some.sigma, some.mass, high)

    def weight(some: Heights, before: Sequence[Outputs]) -> Tensor:
        ends = _with_gradient(low, before[0][:2]), _with_gradient(high, before[0][2:])
        return some.weight(*((end.detach() for end in ends) if detach_quantiles else ends))

    def weights(some: Heights, before: Sequence[Outputs]) -> Outputs:
        return _sum_there(weight(some, before), some.mass, limit)

    def clipped(some: Heights, before: Sequence[Outputs]) -> Tensor:
        end = _with_gradient(limit, before[1])
        return some.clipped(weight(some, before), end.detach() if detach_quantiles else end)

    def sums(some: Heights, before: Sequence[Outputs]) -> Outputs:
        return _weight_sums(some, clipped(some, before))

    def spread(some: Heights, before: Sequence[Outputs]) -> Outputs:
        return (_spread(some, clipped(some, before), _level(*before[2])[0]),)

    *_, (total, moment), (spread_of,) = totals(exposure, widths, weights, sums, spread)
    return _levels(total, moment, spread_of)


def _sum_there(
    values: Float[Tensor, "vol mu"], mass: Float[Tensor, "vol mu"], quantile: Float[Tensor, "vol 1"]
) -> tuple[Float[Tensor, "vol 1"], Float[Tensor, "vol 1"]]:
    """Sum of the values that count and lie at a quantile, and how many they are."""
    there = (values == quantile) & (mass > 0)
    return torch.where(there, values, 0.0).sum(1, keepdim=True), there.sum(1, keepdim=True).to(
        values
    )


def _with_gradient(quantile: Float[Tensor, "vol 1"], at: Outputs) -> Float[Tensor, "vol 1"]:
    """A quantile with the gradient of the mean of the values that lie there."""
    total, n = at
    mean = total / n.clamp_min(1)
    return quantile + (mean - mean.detach())


def _weight_sums(
    muons: Heights, weight: Float[Tensor, "vol mu"]
) -> tuple[Float[Tensor, " vol"], Float[Tensor, " vol"]]:
    return weight.sum(1), (weight * muons.z).sum(1)


def _level(
    total: Float[Tensor, " vol"], moment: Float[Tensor, " vol"]
) -> tuple[Float[Tensor, " vol"], Float[Tensor, " vol"]]:
    """Mean heights, and the weights that they were divided by; one where there is none."""
    total = torch.where(total > 0, total, torch.ones_like(total))
    return moment / total, total


def _spread(
    muons: Heights, weight: Float[Tensor, "vol mu"], level: Float[Tensor, " vol"]
) -> Float[Tensor, " vol"]:
    return ((weight * (muons.z - level[:, None])) ** 2).sum(1)


def _levels(
    total: Float[Tensor, " vol"], moment: Float[Tensor, " vol"], spread: Float[Tensor, " vol"]
) -> FillLevels:
    """Mean heights and their variances; NaN without weight."""
    level, divisor = _level(total, moment)
    nothing, some = torch.full_like(level, torch.nan), total > 0
    variance = torch.where(some, spread / divisor**2, nothing)
    return FillLevels(torch.where(some, level, nothing), variance)
