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
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.axes import (
    SIGMA_FLOOR,
    inner_edges,
    normal_shares,
    uniform_shares,
)
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.power import (
    SPREAD,
    angle_noise,
    path_in_box,
    power_scale,
    squared_angle,
    thickness,
)
from tomopt_tasks.inference.sums import Stretches, layer_sums, voxel_sums
from tomopt_tasks.inference.tracks import Tracks, columns
from tomopt_tasks.inference.x0_settings import UnbiasedX0Settings

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


@dataclass(frozen=True, slots=True)
class MeasuredMuons:
    """Muons of several volumes, equally many each, volume by volume."""

    before: Tracks
    """Tracks above, referred to the top of the passive volume."""
    after: Tracks
    """Tracks below."""
    poca: Poca
    """Points of closest approach."""
    weight: Float[Tensor, " mu"]
    """Probability that the muon is accepted."""
    momentum: Float[Tensor, " mu"]
    """[GeV]."""
    used: Bool[Tensor, " mu"]
    """Whether the muon counts; the others have weight zero."""
    n_volumes: int

    def cleaned(self) -> "MeasuredMuons":
        """The same with harmless numbers and no weight for muons that do not count."""
        return MeasuredMuons(
            before=_clean_tracks(self.before, self.used),
            after=_clean_tracks(self.after, self.used),
            poca=Poca(
                xyz=_masked(self.poca.xyz, self.used, 0.0),
                sigma=_masked(self.poca.sigma, self.used, 1.0),
                valid=self.poca.valid & self.used,
            ),
            weight=_masked(self.weight, self.used, 0.0),
            momentum=_masked(self.momentum, self.used, 1.0),
            used=self.used,
            n_volumes=self.n_volumes,
        )

    def mean(self, values: Float[Tensor, " mu"], by: Float[Tensor, " mu"]) -> Float[Tensor, " vol"]:
        """Mean of each volume, weighted with ``by``; zero without weight."""
        total = self.per_volume(by).sum(1)
        return self.per_volume(values * by).sum(1) / total.clamp_min(1e-30)

    def per_muon(self, values: Float[Tensor, " vol"]) -> Float[Tensor, " mu"]:
        """The value of its volume for each muon."""
        return values.repeat_interleave(len(self.weight) // self.n_volumes)

    def per_volume(self, values: Float[Tensor, "mu ..."]) -> Float[Tensor, "vol muons ..."]:
        """Values with an axis of volumes in front."""
        rows: Tensor = values.unflatten(0, (self.n_volumes, -1))
        return rows


def _masked(values: Tensor, used: Bool[Tensor, " mu"], fill: float) -> Tensor:
    return torch.where(used.view(-1, *[1] * (values.ndim - 1)), values, fill)


def _clean_tracks(tracks: Tracks, used: Bool[Tensor, " mu"]) -> Tracks:
    return Tracks(
        offset=_masked(tracks.offset, used, 0.0),
        slope=_masked(tracks.slope, used, 0.0),
        var_offset=_masked(tracks.var_offset, used, 1.0),
        cov=_masked(tracks.cov, used, 0.0),
        var_slope=_masked(tracks.var_slope, used, 1.0),
        z=tracks.z,
        valid=tracks.valid & used,
    )


class UnbiasedX0(UnbiasedX0Settings):
    """The inversion described at the top of this module."""

    def __call__(self, muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "vol z x y"]:
        """Radiation lengths [m]; finite and positive everywhere."""
        terms = _terms(muons, grid, self)
        power, seen, matter = _sums(muons, terms, grid, self)
        prior = self.prior_muons * grid.size
        density = add_prior(power, prior * terms.density) / (matter + prior)
        if self.log_term:
            density = density / log_factor(power, seen, terms.mean_power, self.prior_muons)
        return 1.0 / density.clamp_min(LEAST_DENSITY)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What each muon brings, and the means of its volume."""

    weight: Float[Tensor, " mu"]
    power: Float[Tensor, " mu"]
    path: Float[Tensor, " mu"]
    ends: tuple[Float[Tensor, " mu"], Float[Tensor, " mu"]]
    spread: Float[Tensor, " mu"]
    """Standard deviation of the true depth of the point of closest approach at r = 1 [m]."""
    density: Float[Tensor, "vol 1 1 1"]
    """Mean power per path [1/m]."""
    mean_power: Float[Tensor, "vol 1 1 1"]


def _terms(muons: MeasuredMuons, grid: VoxelGrid, method: UnbiasedX0) -> _Terms:
    widths = (grid.shape[1] * grid.size, grid.shape[2] * grid.size)
    first, last = path_in_box(muons.before.offset, muons.before.slope, widths, grid.height)
    path = (last - first) * torch.sqrt(1.0 + (muons.before.slope**2).sum(1))
    crosses = path > 0
    path = torch.where(crosses, path, 1.0)
    accepted = torch.where(crosses, muons.weight, 0.0)
    scale = power_scale(muons.momentum)
    angle2 = squared_angle(muons.before, muons.after)
    noise2 = angle_noise(muons.before, muons.after)
    noise = 0.5 * scale * noise2 if method.subtract_resolution else torch.zeros_like(path)
    power = 0.5 * scale * angle2 - noise
    weight, density = _weigh(muons, (accepted, power, path), noise, method.weights)
    width2 = muons.per_muon(density) * path / scale
    blur2 = muons.poca.sigma.t()[2] ** 2 * angle2 / width2
    mean_power = muons.mean(power, weight).clamp_min(1e-6)
    return _Terms(
        weight=weight,
        power=power,
        path=path,
        ends=(first, last),
        spread=torch.sqrt((SPREAD * (last - first)) ** 2 + 2.0 * blur2 + SIGMA_FLOOR**2),
        density=density[:, None, None, None],
        mean_power=mean_power[:, None, None, None],
    )


def _weigh(
    muons: MeasuredMuons,
    terms: tuple[Tensor, Tensor, Tensor],
    noise: Float[Tensor, " mu"],
    policy: Literal["expected", "plain"],
) -> tuple[Float[Tensor, " mu"], Float[Tensor, " vol"]]:
    """Weights and mean densities [1/m].

    The deflection is Gaussian in two planes, so that the variance of a power is the square of its
    mean, noise included; for the weights in units of that of perfect hits.
    """
    accepted, power, path = terms
    weight = accepted
    density = _density(muons, weight, power, path)
    for _ in range(2 if policy == "expected" else 0):
        weight = accepted / (1.0 + noise / (muons.per_muon(density) * path)) ** 2
        density = _density(muons, weight, power, path)
    return weight, density


def _density(
    muons: MeasuredMuons, weight: Tensor, power: Tensor, path: Tensor
) -> Float[Tensor, " vol"]:
    return muons.mean(power / path, weight * path).clamp_min(LEAST_MEAN)


def _sums(
    muons: MeasuredMuons, terms: _Terms, grid: VoxelGrid, method: UnbiasedX0
) -> tuple[Tensor, Tensor, Tensor]:
    """Power, number of muons and matter of each voxel, each (vol, z, x, y)."""
    shares = poca_shares(muons, grid)
    channels = [terms.weight * terms.power, terms.weight]
    if method.share == "voxel":
        slope2 = (muons.before.slope**2).sum(1)
        channels.append(terms.weight * grid.size * torch.sqrt(1.0 + slope2))
    sums = voxel_sums(muons.per_volume(columns(*channels)), *shares)
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
    first, last = terms.ends
    entry = muons.before.offset
    borders = inner_edges(0.0, grid.size, entry, n_z)
    in_layer = uniform_shares(0.5 * (first + last), 0.5 * terms.spread, borders).t().flip(0)
    layer = terms.weight * terms.path * in_layer
    # depths of upper and lower face of each layer, lowest layer first, within the box
    faces = torch.arange(n_z, -1, -1, dtype=entry.dtype, device=entry.device) * grid.size
    depth = torch.where(faces[:, None] < last, faces[:, None], last)
    depth = torch.where(depth > first, depth, first)
    stretches = []
    for start, slope, n_cells in zip(entry.t(), muons.before.slope.t(), (n_x, n_y), strict=True):
        face = _by_layer(muons, start + depth * slope)
        edges = inner_edges(0.0, grid.size, entry, n_cells)
        stretches.append(Stretches(face[:, 1:], face[:, :-1], edges))
    return layer_sums(_by_layer(muons, layer), *stretches)


def _by_layer(muons: MeasuredMuons, rows: Float[Tensor, "z mu"]) -> Float[Tensor, "vol z muons"]:
    by_volume: Tensor = rows.unflatten(1, (muons.n_volumes, -1))
    return by_volume.transpose(0, 1)


def log_factor(
    power: Float[Tensor, "vol z x y"],
    seen: Float[Tensor, "vol z x y"],
    mean_power: Float[Tensor, "vol 1 1 1"],
    prior_muons: float,
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
