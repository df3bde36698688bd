"""Scatters without the hits behind them: what predictions of whole volumes are made from.

A fifth of the numbers, so that volumes with very many muons are measured piece by piece: the hits
of a piece are dropped, and formed again when gradients are to go through them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.tracks import Tracks

_OF_TRACK = ("offset", "slope", "var_offset", "cov", "var_slope")
_OF_POCA = ("xyz", "sigma")


@dataclass(frozen=True, slots=True)
class KnownMuons:
    """What is known of muons beside their hits."""

    reco_mom: Float[Tensor, " mu"]
    """[GeV]"""


@dataclass(frozen=True, slots=True)
class ReducedScatters:
    """Tracks and points of closest approach of a batch of muons, under its names."""

    tracks_in: Tracks
    tracks_out: Tracks
    poca: Poca
    accepted: Float[Tensor, " mu"]
    """Probability of acceptance of every muon, kept or not."""
    valid: Bool[Tensor, " mu"]
    """Which muons are kept."""
    mu: KnownMuons
    n_volumes: int

    @classmethod
    def of(cls, batch: ScatterBatch) -> "ReducedScatters":
        """Without the hits of a batch."""
        return cls(
            tracks_in=batch.tracks_in,
            tracks_out=batch.tracks_out,
            poca=batch.poca,
            accepted=batch.accepted,
            valid=batch.valid,
            mu=KnownMuons(batch.mu.reco_mom.reshape(-1)),
            n_volumes=batch.n_volumes,
        )

    def __len__(self) -> int:
        """Number of muons kept."""
        return int(self.valid.sum())

    def tensors(self) -> tuple[Tensor, ...]:
        """All that carries gradients, in a fixed order."""
        tracks = [getattr(t, n) for t in (self.tracks_in, self.tracks_out) for n in _OF_TRACK]
        return (*tracks, *(getattr(self.poca, n) for n in _OF_POCA), self.accepted)

    def with_tensors(self, tensors: Sequence[Tensor]) -> "ReducedScatters":
        """The same with others in the place of :meth:`tensors`."""
        rest = iter(tensors)

        def take(names: Sequence[str]) -> dict[str, Any]:
            return {name: next(rest) for name in names}

        return replace(
            self,
            tracks_in=replace(self.tracks_in, **take(_OF_TRACK)),
            tracks_out=replace(self.tracks_out, **take(_OF_TRACK)),
            poca=replace(self.poca, **take(_OF_POCA)),
            accepted=next(rest),
        )


Scatters = ScatterBatch | ReducedScatters
"""What inferrers take."""
