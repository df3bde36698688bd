"""Muons of several volumes as they were measured, those that do not count made harmless."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.tracks import Tracks
from tomopt_tasks.kernels import kernel


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

    def per_volume(self, values: Float[Tensor, "mu ..."]) -> Float[Tensor, "vol muons ..."]:
        """Values with an axis of volumes in front."""
        rows: Tensor = values.unflatten(0, (self.n_volumes, -1))
        return rows


_TRACK = {"offset": 0.0, "slope": 0.0, "var_offset": 1.0, "cov": 0.0, "var_slope": 1.0}
"""Parts of a track, and what stands there for a muon that does not count."""
_FILL = (
    [fill for fill in _TRACK.values() for _ in range(2)] * 2 + [0.0] * 3 + [1.0] * 3 + [0.0, 1.0]
)


def measured_muons(
    tracks: tuple[Tracks, Tracks],
    poca: Poca,
    weight: Float[Tensor, " mu"],
    momentum: Float[Tensor, " mu"],
    valid: Bool[Tensor, " mu"],
    n_volumes: int,
) -> MeasuredMuons:
    """Muons with harmless numbers and no weight where they do not count.

    Those do not count that are not ``valid``, whose tracks are parallel, or that have a number that
    is not finite.

    Args:
        tracks: before, referred to the top of the passive volume, and after.
        poca: points of closest approach.
        weight: probability that the muon is accepted.
        momentum: [GeV].
        valid: whether the muon is kept.
        n_volumes: number of volumes.
    """
    columns = [getattr(track, part).t() for track in tracks for part in _TRACK]
    rows = torch.cat([*columns, poca.xyz.t(), poca.sigma.t(), weight[None], momentum[None]])
    clean, used = _clean(rows, poca.valid & valid, rows.new_tensor(_FILL))
    before, after, xyz, sigma, (weight, momentum) = clean.split([10, 10, 3, 3, 2])
    cleaned = [
        Tracks(
            **{name: part.t() for name, part in zip(_TRACK, of.split(2), strict=True)},
            z=track.z,
            valid=track.valid & used,
        )
        for of, track in zip((before, after), tracks, strict=True)
    ]
    found = Poca(xyz.t(), sigma.t(), poca.valid & used)
    return MeasuredMuons(cleaned[0], cleaned[1], found, weight, momentum, used, n_volumes)


@kernel
def _clean(
    rows: Float[Tensor, "row mu"], valid: Bool[Tensor, " mu"], fill: Float[Tensor, " row"]
) -> tuple[Float[Tensor, "row mu"], Bool[Tensor, " mu"]]:
    """Rows of muons whose numbers are all finite, as their sum then is; ``fill`` for others."""
    used = valid & torch.isfinite(rows.detach().sum(0))
    return torch.where(used, rows, fill[:, None]), used
