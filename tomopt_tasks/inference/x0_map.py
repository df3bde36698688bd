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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.inference.axes import inner_edges
from tomopt_tasks.inference.exposure import Exposure, totals
from tomopt_tasks.inference.measured import MeasuredMuons
from tomopt_tasks.inference.power import thickness
from tomopt_tasks.inference.replay import Outputs
from tomopt_tasks.inference.sums import Crossings, layer_sums, voxel_sums
from tomopt_tasks.inference.x0_factors import along_paths, within_voxels
from tomopt_tasks.inference.x0_settings import UnbiasedX0Settings
from tomopt_tasks.inference.x0_weights import WEIGHINGS, MeanSums, mean_sums
from tomopt_tasks.kernels import constants, kernel

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

    def edges(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Borders between the cells along x, y and z [m], in the dtype of ``like``."""
        n_z, n_x, n_y = self.shape
        cells = ((0.0, n_x), (0.0, n_y), (self.z_low, n_z))
        x, y, z = (inner_edges(low, self.size, like, n) for low, n in cells)
        return x, y, z


class UnbiasedX0(UnbiasedX0Settings):
    """The inversion described at the top of this module."""

    def __call__(
        self, muons: MeasuredMuons | Exposure[MeasuredMuons], grid: VoxelGrid
    ) -> Float[Tensor, "vol z x y"]:
        """Radiation lengths [m]; finite and positive everywhere."""
        if isinstance(muons, Exposure):
            power, seen, matter, *means = self._in_pieces(muons, grid)
        else:
            power, seen, matter, *means = self._at_once(muons, grid)
        density_of, power_of = (of[:, None, None, None] for of in means)
        prior = constants((self.prior_muons, self.prior_muons * grid.size), power)
        (density,) = _DENSITY[self.log_term](power, seen, matter, density_of, power_of, prior)
        return 1.0 / density.clamp_min(LEAST_DENSITY)

    def _at_once(
        self, muons: MeasuredMuons, grid: VoxelGrid, means: Tensor | None = None
    ) -> Outputs:
        """Power, weight, matter of each voxel; density and power of each volume.

        Args:
            muons: all muons of the volumes, or some of them with the means of all.
            grid: the voxels.
            means: see :func:`.along_paths`; None: these are all.
        """
        edges = grid.edges(muons.poca.xyz)
        rows, fixed = _Rows.of(muons), _constants(self, grid, edges)
        if means is None:
            means = muons.weight.new_empty((muons.n_volumes, 0))
        if self.share == "voxel":
            within = within_voxels(*rows, *fixed, means)
            return *voxel_sums(*within[:4]).unbind(1), *within[-2:]
        along = along_paths(*rows, *fixed, means)
        x, y = Crossings(along.x_at, edges[0]), Crossings(along.y_at, edges[1])
        matter = layer_sums(along.layer, x, y)
        return *voxel_sums(*along[:4]).unbind(1), matter, *along[-2:]

    def _in_pieces(self, muons: Exposure[MeasuredMuons], grid: VoxelGrid) -> Outputs:
        """The same for muons that are not in memory at once: their means, then their sums."""
        n_means = 1 + (WEIGHINGS if self.weights == "expected" else 0)

        def mean_step(some: MeasuredMuons, before: Sequence[Outputs]) -> Outputs:
            rows = _Rows.of(some)
            switches, box, *_ = _constants(self, grid, grid.edges(some.poca.xyz))
            density = (
                MeanSums(*before[-1]).density() if before else constants((_UNKNOWN,), rows.entry)
            )
            of_muons = (*rows[:5], rows.accepted, rows.momentum)
            return mean_sums(*of_muons, switches, box, density)

        def voxel_step(some: MeasuredMuons, before: Sequence[Outputs]) -> Outputs:
            *_, last = means = [MeanSums(*sums) for sums in before]
            weighed_at = means[-2].density() if n_means > 1 else last.density()
            given = torch.stack([weighed_at, last.density(), last.mean_power()], 1)
            return self._at_once(some, grid, given)[:3]

        *_, last, sums = totals(muons, *[mean_step] * n_means, voxel_step)
        means = MeanSums(*last)
        return *sums, means.density(), means.mean_power()


_UNKNOWN = 1e30
"""A mean density before there is one [1/m]: muons are weighed as if hits were perfect."""


class _Rows(NamedTuple):
    """What is known of each muon, with axes of volumes and of their muons at the end."""

    entry: Float[Tensor, "axis vol mu"]
    slope_in: Float[Tensor, "axis vol mu"]
    slope_out: Float[Tensor, "axis vol mu"]
    var_slope_in: Float[Tensor, "axis vol mu"]
    var_slope_out: Float[Tensor, "axis vol mu"]
    xyz: Float[Tensor, "xyz vol mu"]
    sigma: Float[Tensor, "xyz vol mu"]
    accepted: Float[Tensor, "vol mu"]
    momentum: Float[Tensor, "vol mu"]

    @classmethod
    def of(cls, muons: MeasuredMuons) -> "_Rows":
        """Parts of measured muons."""
        before, after, poca = muons.before, muons.after, muons.poca
        pairs = (before.offset, before.slope, after.slope, before.var_slope, after.var_slope)
        rows = [of.t().unflatten(1, (muons.n_volumes, -1)) for of in (*pairs, poca.xyz, poca.sigma)]
        return cls._make([*rows, muons.per_volume(muons.weight), muons.per_volume(muons.momentum)])


def _constants(
    method: UnbiasedX0Settings, grid: VoxelGrid, edges: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, ...]:
    """Switches (subtract the resolution, weigh by it), box, borders of cells, depths of faces."""
    n_z, n_x, n_y = grid.shape
    switches = (float(method.subtract_resolution), float(method.weights == "expected"))
    box = (n_x * grid.size, n_y * grid.size, grid.height)
    faces = tuple(k * grid.size for k in range(n_z, -1, -1))
    first, second, last = (constants(of, edges[0]) for of in (switches, box, faces))
    return first, second, *edges, last


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
