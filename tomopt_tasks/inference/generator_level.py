"""Scatters as the generator knows them: true positions instead of hits (spec 5.2)."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.detectors.hits import Hits
from tomopt_tasks.inference.scatters import ScatterBatch, SideRecord


class GenScatterBatch(ScatterBatch):
    """Tracks through the true positions on all panels, each with unit weight.

    Uncertainties are zero (those of tracks and points of closest approach next to it), so that all
    inferrers work (D-17); every muon counts fully. Gradients reach panel heights only.
    """

    def uncertainty(self, name: str) -> Float[Tensor, "mu var"]:
        """Zero, of the shape of the variable."""
        return torch.zeros_like(self.value(name))

    def _stacked(self, side: str, key: str) -> Float[Tensor, "mu hit n"]:
        """As measured, but with the unit uncertainties of the spec for ``hit_uncs`` and its kin."""
        found = super()._stacked(side, key)
        return torch.ones_like(found) if key == "unc_xyz" else found

    def _records(self) -> dict[str, SideRecord]:
        return {
            side: SideRecord(lines, true_hits(hits))
            for side, (lines, hits) in super()._records().items()
        }


def true_hits(hits: Hits) -> Hits:
    """Hits at the true positions, all of them seen.

    Tracks do not depend on a common scale of the weights; a small one keeps variances next to zero.
    """
    return replace(
        hits,
        residual=torch.zeros_like(hits.residual),
        sigma=torch.full_like(hits.sigma, 1e-12),
        efficiency=torch.ones_like(hits.efficiency),
        present=torch.ones_like(hits.present),
    )
