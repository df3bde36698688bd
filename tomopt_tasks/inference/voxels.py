"""Radiation length of every voxel from the scattering of muons (spec 5.4)."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopt_tasks.inference.exposure import Exposure, totals
from tomopt_tasks.inference.measured import MeasuredMuons, measured_muons
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.power import x0_from_scatters
from tomopt_tasks.inference.reduced import Scatters
from tomopt_tasks.inference.tracks import Tracks
from tomopt_tasks.inference.volume import AbsVolumeInferrer, merge
from tomopt_tasks.inference.x0_compat import TomOptX0
from tomopt_tasks.inference.x0_factors import poca_shares
from tomopt_tasks.inference.x0_map import UnbiasedX0, VoxelGrid

X0Method = UnbiasedX0 | TomOptX0
"""How scattering is turned into radiation lengths."""

_TRACK_PARTS = ("offset", "slope", "var_offset", "cov", "var_slope", "valid")
_CACHED = ("measured", "_maps", "vox_zxy_x0_pred_uncs", "muon_probs_per_voxel_zxy")


class AbsX0Inferrer(AbsVolumeInferrer):
    """Base of inferrers that predict the radiation length of every voxel.

    Nothing raises on missing information: muons with numbers that are not finite do not count;
    voxels that no muon has seen get the mean of their volume; a volume without any accepted muon is
    predicted as None (D-10, D-58).

    Args:
        volume: the volume that was irradiated; its geometry only.
        method: how scattering is turned into radiation lengths; ``TomOptX0()`` is compat.
    """

    takes_pieces = True
    x0_from_scatters = staticmethod(x0_from_scatters)

    def __init__(self, volume: Any, method: X0Method | None = None) -> None:
        super().__init__(volume)
        self.method: X0Method = UnbiasedX0() if method is None else method
        z_low, z_high = volume.z_range
        self.z_top = z_high
        n_z, n_x, n_y = self.shp_zxy
        self.grid = VoxelGrid((n_z, n_x, n_y), self.size, z_low)

    def compute_efficiency(self, scatters: Scatters) -> Float[Tensor, " mu"]:
        """Probability of acceptance of every muon of a batch."""
        raise NotImplementedError

    def reconstructed_momentum(self, scatters: Scatters) -> Float[Tensor, " mu"]:
        """Momentum of every muon of a batch [GeV]: the true one, unless a subclass measures it."""
        momentum: Tensor = scatters.mu.reco_mom
        return momentum.reshape(-1)

    def _reset_vars(self) -> None:
        for name in _CACHED:
            self.__dict__.pop(name, None)

    def get_predictions(self) -> list[Tensor | None]:
        """Radiation lengths (nz, nx, ny) of each volume [m]; None where no muon was accepted."""
        if not self.scatter_batches:
            return []
        seen = totals(self.measured, lambda muons, _: (_n_counted(muons),))[0][0] > 0
        maps = zip(self._maps, seen.tolist(), strict=True)
        return [x0 if some else None for x0, some in maps]

    @cached_property
    def _maps(self) -> Float[Tensor, "vol z x y"]:
        return self.method(self.measured, self.grid)

    @cached_property
    def measured(self) -> MeasuredMuons | Exposure[MeasuredMuons]:
        """All muons of all batches, volume by volume; those that do not count have weight zero."""
        exposure = self.exposure(lambda me, scatters: me._measured([scatters]))
        return exposure or self._measured(self.in_memory())

    def _measured(self, batches: Sequence[Scatters]) -> MeasuredMuons:
        n_volumes = batches[0].n_volumes

        def merged(pick: Callable[[Scatters], Tensor]) -> Tensor:
            return merge([pick(batch) for batch in batches], n_volumes)

        poca = Poca(
            xyz=merged(lambda batch: batch.poca.xyz),
            sigma=merged(lambda batch: batch.poca.sigma),
            valid=merged(lambda batch: batch.poca.valid),
        )
        return measured_muons(
            (
                _joined([batch.tracks_in.at(self.z_top) for batch in batches], n_volumes),
                _joined([batch.tracks_out for batch in batches], n_volumes),
            ),
            poca,
            merged(self.compute_efficiency),
            merged(self.reconstructed_momentum),
            merged(lambda batch: batch.valid),
            n_volumes,
        )

    @property
    def vox_zxy_x0_preds(self) -> Float[Tensor, "z x y"] | None:
        """The prediction of a scan of one volume [m]."""
        return self.get_prediction()

    @cached_property
    def vox_zxy_x0_pred_uncs(self) -> Float[Tensor, "z x y"]:
        """Standard deviation of each voxel from the resolution of angles and positions [m].

        Linear propagation, muons independent, position and angle of a muon taken as uncorrelated.
        One backward pass a voxel: for checks, not for fits.
        """
        muons = self._measured(self.in_memory())
        angle = torch.sqrt(0.5 * (muons.before.var_slope + muons.after.var_slope)).detach()
        with torch.enable_grad():
            xyz = muons.poca.xyz.detach().requires_grad_()
            slope = muons.after.slope.detach().requires_grad_()
            detached = _detached(muons, xyz, slope)
            flat = self.method(detached, self.grid).flatten()
            variances = [
                _variance(voxel, ((xyz, muons.poca.sigma), (slope, angle * 2**0.5)))
                for voxel in flat.unbind()
            ]
        return torch.sqrt(torch.stack(variances)).view(self.shp_zxy)

    @cached_property
    def muon_probs_per_voxel_zxy(self) -> Float[Tensor, "mu z x y"]:
        """Share of each kept muon in each voxel; needs memory for muons times voxels."""
        muons = self._measured(self.in_memory())
        xyz, sigma = (of.t()[:, None] for of in (muons.poca.xyz, muons.poca.sigma))
        z, x, y = (of[0].t() for of in poca_shares(xyz, sigma, self.grid.edges(xyz)))
        shares = z[:, :, None, None] * x[:, None, :, None] * y[:, None, None, :]
        return shares[muons.used]

    def _kept(self, name: str) -> Tensor:
        return torch.cat([getattr(batch, name) for batch in self.in_memory()])

    @property
    def n_mu(self) -> int:
        """Number of muons kept."""
        return sum(len(batch) for batch in self.in_memory())

    @property
    def muon_poca_xyz(self) -> Float[Tensor, "mu 3"]:
        """Points of closest approach of the kept muons [m]."""
        return self._kept("poca_xyz")

    @property
    def muon_poca_xyz_unc(self) -> Float[Tensor, "mu 3"]:
        """Their standard deviations [m]."""
        return self._kept("poca_xyz_unc")

    @property
    def muon_total_scatter(self) -> Float[Tensor, "mu 1"]:
        """Scattering angles of the kept muons [rad]."""
        return self._kept("total_scatter")

    @property
    def muon_total_scatter_unc(self) -> Float[Tensor, "mu 1"]:
        """Their standard deviations [rad]."""
        return self._kept("total_scatter_unc")

    @property
    def muon_theta_in(self) -> Float[Tensor, "mu 1"]:
        """Zenith angles above [rad]."""
        return self._kept("theta_in")

    @property
    def muon_theta_in_unc(self) -> Float[Tensor, "mu 1"]:
        """Their standard deviations [rad]."""
        return self._kept("theta_in_unc")

    @property
    def muon_theta_out(self) -> Float[Tensor, "mu 1"]:
        """Zenith angles below [rad]."""
        return self._kept("theta_out")

    @property
    def muon_theta_out_unc(self) -> Float[Tensor, "mu 1"]:
        """Their standard deviations [rad]."""
        return self._kept("theta_out_unc")

    @property
    def muon_mom(self) -> Float[Tensor, "mu 1"]:
        """Momenta of the kept muons [GeV]."""
        parts = [self.reconstructed_momentum(b)[b.valid] for b in self.in_memory()]
        return torch.cat(parts)[:, None]

    @property
    def muon_mom_unc(self) -> Float[Tensor, "mu 1"]:
        """Zero: momenta are taken as known."""
        return torch.zeros_like(self.muon_mom)

    @property
    def muon_efficiency(self) -> Float[Tensor, "mu 1"]:
        """Probability of acceptance of the kept muons."""
        return torch.cat([self.compute_efficiency(b)[b.valid] for b in self.in_memory()])[:, None]


class PanelX0Inferrer(AbsX0Inferrer):
    """Radiation lengths from panel hits; a muon counts as its scatter batch says it is accepted."""

    def compute_efficiency(self, scatters: Scatters) -> Float[Tensor, " mu"]:
        """Probability of enough hits on both sides, by the policy of the scatter batch."""
        return scatters.accepted


def _joined(tracks: Sequence[Tracks], n_volumes: int) -> Tracks:
    """Tracks of batches of the same volumes, volume by volume."""
    parts = {
        name: merge([getattr(track, name) for track in tracks], n_volumes) for name in _TRACK_PARTS
    }
    return Tracks(z=tracks[0].z, **parts)


def _n_counted(muons: MeasuredMuons) -> Int[Tensor, " vol"]:
    """How many muons of each volume count for something."""
    return (muons.per_volume(muons.weight.detach()) > 0).sum(1)


def _detached(
    muons: MeasuredMuons, xyz: Float[Tensor, "mu 3"], slope: Float[Tensor, "mu 2"]
) -> MeasuredMuons:
    def fixed(track: Tracks, new_slope: Tensor) -> Tracks:
        parts = {name: getattr(track, name).detach() for name in _TRACK_PARTS}
        return Tracks(z=track.z, **{**parts, "slope": new_slope})

    return MeasuredMuons(
        before=fixed(muons.before, muons.before.slope.detach()),
        after=fixed(muons.after, slope),
        poca=Poca(xyz, muons.poca.sigma.detach(), muons.poca.valid),
        weight=muons.weight.detach(),
        momentum=muons.momentum.detach(),
        used=muons.used,
        n_volumes=muons.n_volumes,
    )


def _variance(
    voxel: Float[Tensor, ""], inputs: tuple[tuple[Tensor, Tensor], ...]
) -> Float[Tensor, ""]:
    rows = torch.autograd.grad(
        voxel, [value for value, _ in inputs], retain_graph=True, allow_unused=True
    )
    parts = [
        ((row * sigma.detach()) ** 2).nansum()
        for row, (_, sigma) in zip(rows, inputs, strict=True)
        if row is not None
    ]
    return torch.stack(parts).sum()
