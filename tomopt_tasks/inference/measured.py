"""Muons of several volumes as they were measured, those that do not count made harmless."""

from dataclasses import dataclass
from typing import NamedTuple

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
_POCA = {"xyz": 0.0, "sigma": 1.0}
_FILL = (*_TRACK.values(), *_TRACK.values(), *_POCA.values(), 0.0, 1.0)


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
    parts = [getattr(track, name).t() for track in tracks for name in _TRACK]
    parts += [getattr(poca, name).t() for name in _POCA]
    clean = _clean(*parts, weight, momentum, poca.valid & valid)
    before, after, (xyz, sigma) = clean[:5], clean[5:10], clean[10:12]
    cleaned = [
        Tracks(
            **{name: part.t() for name, part in zip(_TRACK, of, strict=True)},
            z=track.z,
            valid=track.valid & clean.used,
        )
        for of, track in zip((before, after), tracks, strict=True)
    ]
    found = Poca(xyz.t(), sigma.t(), poca.valid & clean.used)
    return MeasuredMuons(
        cleaned[0], cleaned[1], found, clean.weight, clean.momentum, clean.used, n_volumes
    )


class _Clean(NamedTuple):
    """Parts of two tracks and of their point of closest approach, and the rest."""

    offset_in: Float[Tensor, "axis mu"]
    slope_in: Float[Tensor, "axis mu"]
    var_offset_in: Float[Tensor, "axis mu"]
    cov_in: Float[Tensor, "axis mu"]
    var_slope_in: Float[Tensor, "axis mu"]
    offset_out: Float[Tensor, "axis mu"]
    slope_out: Float[Tensor, "axis mu"]
    var_offset_out: Float[Tensor, "axis mu"]
    cov_out: Float[Tensor, "axis mu"]
    var_slope_out: Float[Tensor, "axis mu"]
    xyz: Float[Tensor, "xyz mu"]
    sigma: Float[Tensor, "xyz mu"]
    weight: Float[Tensor, " mu"]
    momentum: Float[Tensor, " mu"]
    used: Bool[Tensor, " mu"]


@kernel
def _clean(
    offset_in: Float[Tensor, "axis mu"],
    slope_in: Float[Tensor, "axis mu"],
    var_offset_in: Float[Tensor, "axis mu"],
    cov_in: Float[Tensor, "axis mu"],
    var_slope_in: Float[Tensor, "axis mu"],
    offset_out: Float[Tensor, "axis mu"],
    slope_out: Float[Tensor, "axis mu"],
    var_offset_out: Float[Tensor, "axis mu"],
    cov_out: Float[Tensor, "axis mu"],
    var_slope_out: Float[Tensor, "axis mu"],
    xyz: Float[Tensor, "xyz mu"],
    sigma: Float[Tensor, "xyz mu"],
    weight: Float[Tensor, " mu"],
    momentum: Float[Tensor, " mu"],
    valid: Bool[Tensor, " mu"],
) -> _Clean:
    """The same where all numbers of a muon are finite, as their sum then is; harmless elsewhere."""
    before = (offset_in, slope_in, var_offset_in, cov_in, var_slope_in)
    after = (offset_out, slope_out, var_offset_out, cov_out, var_slope_out)
    parts = (*before, *after, xyz, sigma, weight, momentum)
    total = sum(part.detach().sum(0) for part in parts[:-2]) + (weight + momentum).detach()
    used = valid & torch.isfinite(total)
    clean = [torch.where(used, *pair) for pair in zip(parts, _FILL, strict=True)]
    return _Clean._make([*clean, used])
