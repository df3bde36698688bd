"""Hits and tracks of a scatter batch under the names and in the shapes of spec 5.1."""

import importlib
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.detectors.hits import Hits, Lines
from tomopt_tasks.inference.tracks import Tracks, fit_tracks


class HitViews:
    """Hits of the kept muons, all panels above first, then all below, in the order of each layer.

    A missing hit has a NaN position, an infinite uncertainty and efficiency zero.
    """

    above: Any
    below: Any
    tracks_in: Tracks
    tracks_out: Tracks

    @cached_property
    def valid(self) -> Bool[Tensor, " mu"]:
        """Which muons are kept."""
        raise NotImplementedError

    def _stacked(self, side: str, key: str) -> Float[Tensor, "mu hit n"]:
        lines, hits = getattr(self, side)
        return torch.stack([panel[key] for panel in hits.as_dict(lines)], 1)[self.valid]

    def _joined(self, key: str) -> Float[Tensor, "mu hit n"]:
        return torch.cat([self._stacked("above", key), self._stacked("below", key)], 1)

    @property
    def hits(self) -> dict[str, dict[str, Tensor]]:
        """Hits by side and name (spec 1.3)."""
        keys = ("reco_xyz", "gen_xyz", "unc_xyz", "eff")
        return {s: {k: self._stacked(s, k) for k in keys} for s in ("above", "below")}

    @property
    def n_hits_above(self) -> int:
        """Panels above."""
        return int(self.above.hits.efficiency.shape[1])

    @property
    def n_hits_below(self) -> int:
        """Panels below."""
        return int(self.below.hits.efficiency.shape[1])

    @property
    def reco_hits(self) -> Float[Tensor, "mu hit 3"]:
        """Measured positions [m]."""
        return self._joined("reco_xyz")

    @property
    def gen_hits(self) -> Float[Tensor, "mu hit 3"]:
        """True positions [m]."""
        return self._joined("gen_xyz")

    @property
    def hit_uncs(self) -> Float[Tensor, "mu hit 3"]:
        """Standard deviations [m]; zero in z."""
        return self._joined("unc_xyz")

    @property
    def hit_effs(self) -> Float[Tensor, "mu hit 1"]:
        """Probabilities of the hits."""
        return self._joined("eff")

    @property
    def above_hits(self) -> Float[Tensor, "mu hit 3"]:
        """Measured positions above [m]."""
        return self._stacked("above", "reco_xyz")

    @property
    def below_hits(self) -> Float[Tensor, "mu hit 3"]:
        """Measured positions below [m]."""
        return self._stacked("below", "reco_xyz")

    @property
    def above_gen_hits(self) -> Float[Tensor, "mu hit 3"]:
        """True positions above [m]."""
        return self._stacked("above", "gen_xyz")

    @property
    def below_gen_hits(self) -> Float[Tensor, "mu hit 3"]:
        """True positions below [m]."""
        return self._stacked("below", "gen_xyz")

    @property
    def above_hit_uncs(self) -> Float[Tensor, "mu hit 3"]:
        """Standard deviations above [m]."""
        return self._stacked("above", "unc_xyz")

    @property
    def below_hit_uncs(self) -> Float[Tensor, "mu hit 3"]:
        """Standard deviations below [m]."""
        return self._stacked("below", "unc_xyz")

    @property
    def above_hit_effs(self) -> Float[Tensor, "mu hit 1"]:
        """Probabilities of the hits above."""
        return self._stacked("above", "eff")

    @property
    def below_hit_effs(self) -> Float[Tensor, "mu hit 1"]:
        """Probabilities of the hits below."""
        return self._stacked("below", "eff")

    @property
    def track_start_in(self) -> Float[Tensor, "mu 3"]:
        """Incoming track at the highest panel above [m]."""
        return _ends(self.tracks_in, self.above)[1][self.valid]

    @property
    def track_in(self) -> Float[Tensor, "mu 3"]:
        """Incoming track from the highest panel above to the next one [m]."""
        return _ends(self.tracks_in, self.above)[0][self.valid]

    @property
    def track_start_out(self) -> Float[Tensor, "mu 3"]:
        """Outgoing track at the highest panel below [m]."""
        return _ends(self.tracks_out, self.below)[1][self.valid]

    @property
    def track_out(self) -> Float[Tensor, "mu 3"]:
        """Outgoing track from the highest panel below to the next one [m]."""
        return _ends(self.tracks_out, self.below)[0][self.valid]

    @staticmethod
    def get_muon_trajectory(
        hits: Float[Tensor, "mu hit 3"],
        uncs: Float[Tensor, "mu hit n"],
        lw: Tensor | None = None,  # noqa: ARG004  (published signature)
    ) -> tuple[Float[Tensor, "mu 3"], Float[Tensor, "mu 3"]]:
        """Weighted straight lines through hits: vectors from the first to the second panel, starts.

        Args:
            hits: positions [m]; those that are not finite do not count.
            uncs: standard deviations in x and y [m].
            lw: not needed; accepted for compatibility.
        """
        here = torch.isfinite(hits[..., :2]).all(-1) & torch.isfinite(uncs[..., :2]).all(-1)
        clean = torch.where(here[..., None], hits, torch.zeros_like(hits))
        middle = clean[..., :2].sum(1) / here.sum(1, keepdim=True).clamp_min(1)
        heights = hits[0, :, 2]
        lines = Lines(offset=middle, slope=torch.zeros_like(middle), z=float(heights[0].detach()))
        measured = Hits(
            depth=lines.z - heights,
            residual=torch.where(here[..., None], clean[..., :2] - middle[:, None], 0.0),
            sigma=torch.where(here[..., None], uncs[..., :2], 1.0),
            efficiency=here.to(hits),
            present=here,
        )
        return _ends(fit_tracks(lines, measured), (lines, measured))

    def plot_scatter(self, idx: int, savename: str | Path | None = None) -> Any:
        """Figure of one kept muon; see :func:`tomopt_tasks.plotting.plot_scatter_event`."""
        drawing = importlib.import_module("tomopt_tasks.plotting.event")
        return drawing.plot_scatter_event(self, idx, savename)


def _ends(
    track: Tracks, record: tuple[Lines, Hits]
) -> tuple[Float[Tensor, "mu 3"], Float[Tensor, "mu 3"]]:
    """Vector from the highest panel to the next one, and where the track crosses the highest."""
    lines, hits = record
    heights = (lines.z - hits.depth).sort(descending=True).values
    start = track.offset + (track.z - heights[0]) * track.slope
    drop = heights[0] - heights[1]
    down = (-drop).expand(len(start))[:, None]
    vector = torch.cat([drop * track.slope, down], 1)
    return vector, torch.cat([start, heights[0].expand(len(start))[:, None]], 1)
