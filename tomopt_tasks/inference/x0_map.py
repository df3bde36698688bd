"""Radiation length of every voxel from the scattering of many muons, without bias.

The scattering power of a muon (see :mod:`.power`) is shared among the voxels around its point of
closest approach; a voxel's density of radiation lengths is the power that it got over the power
that it would have got from matter of density one:

    1 / X0_j = (sum_i w_i P_ij power_i) / (F_j sum_i w_i R_ij)

* w_i is the probability that the muon is accepted over the expected variance of its power: weights
  that depend on the measured angle itself pull the mean down (D-06).
* power_i has the mean square of the angle that the resolution makes subtracted (D-22).
* P_ij are the shares of :func:`.axes.normal_shares` with the uncertainty of the point (D-61).
* R_ij is the path of the muon, shared as P_ij would be on average in uniform matter
  (:func:`.axes.uniform_shares`): a point of closest approach lies near the middle of a thick
  object, wherever the scatters were. With ``share="voxel"`` all scattering of a muon happened in
  one voxel, as in spec 5.4: R_ij = P_ij x (path in one voxel).
* F_j is Highland's logarithmic factor for the mean power of the muons of the voxel.

A few imaginary muons that saw the mean of the volume (``prior_muons``) hold voxels that no muon has
seen at that mean, and keep all numbers finite (D-10, D-58); what they add vanishes as 1 / exposure.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.inference.axes import (
    SIGMA_FLOOR,
    inner_edges,
    normal_shares,
    uniform_shares,
)
from tomopt_tasks.inference.measured import MeasuredMuons
from tomopt_tasks.inference.power import (
    SPREAD,
    angle_noise,
    path_in_box,
    power_scale,
    squared_angle,
    thickness,
)
from tomopt_tasks.inference.sums import Stretches, layer_sums, voxel_sums
from tomopt_tasks.inference.tracks import Tracks
from tomopt_tasks.inference.x0_settings import UnbiasedX0Settings
from tomopt_tasks.kernels import kernel

LEAST_MEAN = 1e-3
"""Least mean density of a volume [1/m]."""

LEAST_DENSITY = 1e-4
"""Radiation lengths per metre below which a density is not reported (air has 3e-3)."""


@dataclass(frozen=True, slots=True)
class VoxelGrid:
    """The voxels of the passive volume; its low corner in x and y is the origin."""

    shape: tuple[int, int, int]
    """Number of voxels along z, x, y."""
    size: float
    """Edge of a voxel [m]."""
    z_low: float
    """Bottom [m]."""

    @property
    def height(self) -> float:
        """Extent in z [m]."""
        return self.shape[0] * self.size


class UnbiasedX0(UnbiasedX0Settings):
    """The inversion described at the top of this module."""

    def __call__(self, muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "vol z x y"]:
        """Radiation lengths [m]; finite and positive everywhere."""
        terms = _terms(muons, grid, self)
        power, seen, matter = _sums(muons, terms, grid, self)
        means = (of[:, None, None, None] for of in (terms.density, terms.mean_power))
        prior = power.new_tensor([self.prior_muons, self.prior_muons * grid.size])
        (density,) = _DENSITY[self.log_term](power, seen, matter, *means, prior)
        return 1.0 / density.clamp_min(LEAST_DENSITY)


class _Terms(NamedTuple):
    """What each muon brings, and the means of its volume."""

    weight: Float[Tensor, "vol mu"]
    power: Float[Tensor, "vol mu"]
    path: Float[Tensor, "vol mu"]
    first: Float[Tensor, "vol mu"]
    """Depth at which it enters the box [m]."""
    last: Float[Tensor, "vol mu"]
    """Depth at which it leaves the box [m]."""
    spread: Float[Tensor, "vol mu"]
    """Standard deviation of the true depth of the point of closest approach at r = 1 [m]."""
    density: Float[Tensor, " vol"]
    """Mean power per path [1/m]."""
    mean_power: Float[Tensor, " vol"]


def _terms(muons: MeasuredMuons, grid: VoxelGrid, method: UnbiasedX0) -> _Terms:
    before, after = muons.before, muons.after
    rows = (before.offset, before.slope, after.slope, before.var_slope, after.var_slope)
    box = [grid.shape[1] * grid.size, grid.shape[2] * grid.size, grid.height]
    switches = [float(method.subtract_resolution), float(method.weights == "expected")]
    return _muon_terms(
        *(of_tracks.t().unflatten(1, (muons.n_volumes, -1)) for of_tracks in rows),
        *map(muons.per_volume, (muons.poca.sigma.t()[2], muons.weight, muons.momentum)),
        before.offset.new_tensor(box),
        before.offset.new_tensor(switches),
    )


@kernel
def _muon_terms(
    entry: Float[Tensor, "axis vol mu"],
    slope_in: Float[Tensor, "axis vol mu"],
    slope_out: Float[Tensor, "axis vol mu"],
    var_slope_in: Float[Tensor, "axis vol mu"],
    var_slope_out: Float[Tensor, "axis vol mu"],
    sigma_z: Float[Tensor, "vol mu"],
    accepted: Float[Tensor, "vol mu"],
    momentum: Float[Tensor, "vol mu"],
    box: Float[Tensor, " xyz"],
    switches: Float[Tensor, " switch"],
) -> _Terms:
    """Terms of muons in a box; two switches: subtract the resolution, weigh by it."""
    subtract, weigh = switches.unbind()
    first, last = path_in_box(entry, slope_in, box)
    path = (last - first) * torch.sqrt(1.0 + slope_in.square().sum(0))
    crosses = path > 0
    path = torch.where(crosses, path, 1.0)
    accepted = torch.where(crosses, accepted, 0.0)
    scale = power_scale(momentum)
    angle2 = squared_angle(slope_in, slope_out)
    noise = subtract * 0.5 * scale * angle_noise(slope_in, slope_out, var_slope_in + var_slope_out)
    power = 0.5 * scale * angle2 - noise
    weight, density = _weigh(accepted, power, path, weigh * noise)
    width2 = density[:, None] * path / scale
    blur2 = sigma_z**2 * angle2 / width2
    spread = torch.sqrt((SPREAD * (last - first)) ** 2 + 2.0 * blur2 + SIGMA_FLOOR**2)
    mean_power = _mean(power, weight).clamp_min(1e-6)
    return _Terms(weight, power, path, first, last, spread, density, mean_power)


def _weigh(
    accepted: Float[Tensor, "vol mu"],
    power: Float[Tensor, "vol mu"],
    path: Float[Tensor, "vol mu"],
    noise: Float[Tensor, "vol mu"],
) -> tuple[Float[Tensor, "vol mu"], Float[Tensor, " vol"]]:
    """Weights and mean densities [1/m].

    The deflection is Gaussian in two planes, so that the variance of a power is the square of its
    mean, noise included; for the weights in units of that of perfect hits.
    """
    per_path, weight = power / path, accepted
    density = _mean(per_path, weight * path).clamp_min(LEAST_MEAN)
    for _ in range(2):
        weight = accepted / (1.0 + noise / (density[:, None] * path)) ** 2
        density = _mean(per_path, weight * path).clamp_min(LEAST_MEAN)
    return weight, density


def _mean(values: Float[Tensor, "vol mu"], by: Float[Tensor, "vol mu"]) -> Float[Tensor, " vol"]:
    """Mean of each volume, weighted with ``by``; zero without weight."""
    return (values * by).sum(1) / by.sum(1).clamp_min(1e-30)


def _sums(
    muons: MeasuredMuons, terms: _Terms, grid: VoxelGrid, method: UnbiasedX0
) -> tuple[Tensor, Tensor, Tensor]:
    """Power, number of muons and matter of each voxel, each (vol, z, x, y)."""
    shares = poca_shares(muons, grid)
    channels = [terms.weight * terms.power, terms.weight]
    if method.share == "voxel":
        slope2 = muons.per_volume((muons.before.slope**2).sum(1))
        channels.append(terms.weight * grid.size * torch.sqrt(1.0 + slope2))
    sums = voxel_sums(torch.stack(channels, 1).transpose(1, 2), *shares)
    if method.share == "voxel":
        return sums[:, 0], sums[:, 1], sums[:, 2]
    return sums[:, 0], sums[:, 1], _matter(muons, terms, grid)


def poca_shares(
    muons: MeasuredMuons, grid: VoxelGrid
) -> tuple[
    Float[Tensor, "vol muons z"], Float[Tensor, "vol muons x"], Float[Tensor, "vol muons y"]
]:
    """Probabilities of the cells along z, x and y for the points of closest approach."""
    n_z, n_x, n_y = grid.shape
    shares = []
    low = (0.0, 0.0, grid.z_low)
    for where, sigma, start, n_cells in zip(
        muons.poca.xyz.t(), muons.poca.sigma.t(), low, (n_x, n_y, n_z), strict=True
    ):
        edges = inner_edges(start, grid.size, where, n_cells)
        shares.append(muons.per_volume(normal_shares(where, sigma, edges)))
    return shares[2], shares[0], shares[1]


def _matter(muons: MeasuredMuons, terms: _Terms, grid: VoxelGrid) -> Float[Tensor, "vol z x y"]:
    """Weighted path per voxel, shared in depth like the power of uniform matter."""
    n_z, n_x, n_y = grid.shape
    entry, slope = (of.t().unflatten(1, (muons.n_volumes, -1)) for of in _line(muons.before))
    borders = inner_edges(0.0, grid.size, entry, n_z)
    middle = 0.5 * (terms.first + terms.last)
    in_layer = uniform_shares(middle, 0.5 * terms.spread, borders).movedim(-1, 1).flip(1)
    layer = (terms.weight * terms.path)[:, None] * in_layer
    faces = torch.arange(n_z, -1, -1, dtype=entry.dtype, device=entry.device) * grid.size
    x, y = _faces(entry, slope, terms.first, terms.last, faces)
    stretches = [
        Stretches(at[:, 1:], at[:, :-1], inner_edges(0.0, grid.size, entry, n_cells))
        for at, n_cells in ((x, n_x), (y, n_y))
    ]
    return layer_sums(layer, *stretches)


def _line(track: Tracks) -> tuple[Float[Tensor, "mu 2"], Float[Tensor, "mu 2"]]:
    return track.offset, track.slope


@kernel
def _faces(
    entry: Float[Tensor, "axis vol mu"],
    slope: Float[Tensor, "axis vol mu"],
    first: Float[Tensor, "vol mu"],
    last: Float[Tensor, "vol mu"],
    faces: Float[Tensor, " face"],
) -> tuple[Float[Tensor, "vol face mu"], Float[Tensor, "vol face mu"]]:
    """Where lines cross the faces of the layers at some depths, within the box, in x and in y."""
    first, last = first[:, None], last[:, None]
    depth = torch.where(faces[:, None] < last, faces[:, None], last)
    depth = torch.where(depth > first, depth, first)
    x, y = entry[:, :, None] + depth * slope[:, :, None]
    return x, y


@kernel
def _density(
    power: Float[Tensor, "vol z x y"],
    seen: Float[Tensor, "vol z x y"],
    matter: Float[Tensor, "vol z x y"],
    density: Float[Tensor, "vol one one one"],
    mean_power: Float[Tensor, "vol one one one"],
    prior: Float[Tensor, " 2"],
) -> tuple[Float[Tensor, "vol z x y"]]:
    """Density of radiation lengths of each voxel [1/m]; ``prior``: imaginary muons, their path."""
    (plain,) = _plain_density.function(power, seen, matter, density, mean_power, prior)
    return (plain / log_factor(power, seen, mean_power, prior[0]),)


@kernel
def _plain_density(
    power: Float[Tensor, "vol z x y"],
    seen: Float[Tensor, "vol z x y"],  # noqa: ARG001
    matter: Float[Tensor, "vol z x y"],
    density: Float[Tensor, "vol one one one"],
    mean_power: Float[Tensor, "vol one one one"],  # noqa: ARG001
    prior: Float[Tensor, " 2"],
) -> tuple[Float[Tensor, "vol z x y"]]:
    """The same without Highland's logarithm."""
    return (add_prior(power, prior[1] * density) / (matter + prior[1]),)


_DENSITY = {True: _density, False: _plain_density}


def log_factor(
    power: Float[Tensor, "vol z x y"],
    seen: Float[Tensor, "vol z x y"],
    mean_power: Float[Tensor, "vol 1 1 1"],
    prior_muons: Float[Tensor, ""],
) -> Float[Tensor, "vol z x y"]:
    """Power over radiation lengths at the mean power of the muons of each voxel.

    Args:
        power: summed power.
        seen: summed weights.
        mean_power: mean power of the volume's muons; that of the imaginary ones.
        prior_muons: how many imaginary ones.
    """
    mean = add_prior(power, prior_muons * mean_power) / (seen + prior_muons)
    return mean / thickness(mean)


def add_prior(
    power: Float[Tensor, "vol z x y"], prior: Float[Tensor, "vol 1 1 1"]
) -> Float[Tensor, "vol z x y"]:
    """``power + prior`` for a positive power; positive and smooth where noise made it negative.

    A power of -k times the prior gives prior / (1 + k).

    Args:
        power: what was measured, resolution subtracted.
        prior: > 0.
    """
    ratio = power / prior
    return prior * torch.where(ratio > 0, 1.0 + ratio, 1.0 / (1.0 - ratio.clamp_max(0.0)))
