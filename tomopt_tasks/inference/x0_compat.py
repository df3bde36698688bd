"""The inversion of TomOpt, for comparison with published numbers (compat; spec 5.4).

Each muon weighs with the inverse variance of its own squared angle, so that small angles dominate
and radiation lengths come out 2.0 to 2.6 times too large (D-06); nothing is subtracted for the
resolution (D-22); the logarithm of Highland's formula and beta are left out; all scattering is put
into one voxel; beyond the grid shares are cut, and every voxel gets 1e-15 of every muon (D-61).
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.inference import variables
from tomopt_tasks.inference.axes import SIGMA_FLOOR
from tomopt_tasks.inference.exposure import Exposure, totals
from tomopt_tasks.inference.measured import MeasuredMuons
from tomopt_tasks.inference.power import x0_from_scatters
from tomopt_tasks.inference.sums import voxel_sums
from tomopt_tasks.inference.x0_map import VoxelGrid
from tomopt_tasks.inference.x0_settings import TomOptX0Settings

SHARE_FLOOR = 1e-15
"""Added to the probability of every voxel."""

LEAST_VARIANCE = 1e-30
"""Variances are held above this, so that a zero angle does not outweigh all others (D-51)."""


class TomOptX0(TomOptX0Settings):
    """Compat: the method described at the top of this module."""

    def __call__(
        self, muons: MeasuredMuons | Exposure[MeasuredMuons], grid: VoxelGrid
    ) -> Float[Tensor, "vol z x y"]:
        """Radiation lengths [m]."""
        ((sums, whole),) = totals(muons, lambda some, _: _channel_sums(some, grid))
        sums = sums + SHARE_FLOOR * whole[:, :, None, None, None]
        mom, total, before, after = (
            torch.sqrt(sums[:, 2 * k + 1] / sums[:, 2 * k].clamp_min(1e-300)) for k in range(4)
        )
        return x0_from_scatters(grid.size, total / math.sqrt(2.0), before, after, mom)


def _channel_sums(
    muons: MeasuredMuons, grid: VoxelGrid
) -> tuple[Float[Tensor, "vol channel z x y"], Float[Tensor, "vol channel"]]:
    """Weights and weighted squares of momentum and three angles: of voxels, and of volumes."""
    weight = muons.weight
    channels = [weight, weight * muons.momentum**2]
    for name in ("total_scatter", "theta_in", "theta_out"):
        value, sigma = measured(name, muons, grid.height)
        inverse = weight / ((2.0 * value * sigma) ** 2).clamp_min(LEAST_VARIANCE)
        channels += [inverse, inverse * value**2]
    rows = muons.per_volume(torch.stack(channels, 1))
    return voxel_sums(rows.transpose(1, 2), *_inside_shares(muons, grid)), rows.sum(1)


def measured(
    name: str, muons: MeasuredMuons, height: float
) -> tuple[Float[Tensor, " mu"], Float[Tensor, " mu"]]:
    """A scatter variable of one column and its standard deviation, of every muon.

    Args:
        name: key of :data:`.variables.VARIABLES`.
        muons: the muons.
        height: extent of the passive volume [m].
    """
    after = muons.after.at(muons.before.z - height)
    rows = torch.cat([muons.before.offset, muons.before.slope, after.offset, after.slope], 1)
    value, jacobian = _differentiate(
        lambda r: variables.VARIABLES[name](r, height, muons.before.z), rows
    )
    by_a, by_s = variables.by_offset_and_slope(jacobian)
    var_a, cov, var_s = (
        torch.cat([getattr(track, part) for track in (muons.before, after)], 1)
        for part in ("var_offset", "cov", "var_slope")
    )
    variance = (by_a**2 * var_a + 2.0 * by_a * by_s * cov + by_s**2 * var_s).sum(1)
    return value, torch.sqrt(variance.clamp_min(0.0) + LEAST_VARIANCE)


def _differentiate(
    function: Callable[[Tensor], Tensor], rows: Float[Tensor, "mu 8"]
) -> tuple[Float[Tensor, " mu"], Float[Tensor, "mu 8"]]:
    tracked = torch.is_grad_enabled() and rows.requires_grad
    with torch.enable_grad():
        inputs = rows if tracked else rows.detach().requires_grad_()
        value = function(inputs)[:, 0]
        (jacobian,) = torch.autograd.grad(value.sum(), inputs, create_graph=tracked)
    return (value, jacobian) if tracked else (value.detach(), jacobian)


def _inside_shares(
    muons: MeasuredMuons, grid: VoxelGrid
) -> tuple[
    Float[Tensor, "vol z muons"], Float[Tensor, "vol x muons"], Float[Tensor, "vol y muons"]
]:
    """Probabilities of the cells; what lies beyond the grid is lost."""
    shares = []
    for axis, n_cells, low in zip((2, 0, 1), grid.shape, (grid.z_low, 0.0, 0.0), strict=True):
        where, sigma = muons.poca.xyz[:, axis], muons.poca.sigma[:, axis] + SIGMA_FLOOR
        edges = low + grid.size * torch.arange(n_cells + 1, device=where.device).to(where)
        cumulative = torch.special.ndtr((edges - where[:, None]) / sigma[:, None])
        shares.append(muons.per_volume(cumulative.diff(dim=1)).transpose(1, 2))
    return shares[0], shares[1], shares[2]
