"""Scatters without the hits behind them: what predictions of whole volumes are made from.

A fifth of the numbers, for muons that are looked at several times.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.tracks import Tracks


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
            mu=KnownMuons(batch.mu.reco_mom.reshape(-1).clone()),  # a column of more
            n_volumes=batch.n_volumes,
        )

    def __len__(self) -> int:
        """Number of muons kept."""
        return int(self.valid.sum())


Scatters = ScatterBatch | ReducedScatters
"""What inferrers take."""
