"""Inferrers of the ladle-furnace benchmark (spec 5.8)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tomopt_tasks.inference.fill_level import Heights, central_weights, fill_level, heights
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.reduced import Scatters
from tomopt_tasks.inference.volume import AbsVolumeInferrer, merge
from tomopt_tasks.kernels import constants


class PocaZLadleFurnaceFillLevelInferrer(AbsVolumeInferrer):
    """Fill level as a weighted mean height of the points of closest approach.

    Args:
        volume: the volume that was irradiated.
        smooth: edge width of the central weights in half-widths of the volume; > 0.
        detach_quantiles: treat the clipping quantiles as constants (the behaviour of TomOpt).
        weighted_quantiles: muons count with their acceptance in the quantiles; False as TomOpt.
    """

    takes_pieces = True

    def __init__(
        self,
        volume: Any,
        smooth: float = 0.1,
        *,
        detach_quantiles: bool = False,
        weighted_quantiles: bool = True,
    ) -> None:
        super().__init__(volume)
        self.detach_quantiles = detach_quantiles
        self.weighted_quantiles = weighted_quantiles
        self.smooth = smooth
        self.variances: list[Tensor | None] = []
        """Variance of each prediction over other muons [m2], set with the predictions."""

    @property
    def smooth(self) -> float:
        """Edge width of the central weights."""
        return self._smooth

    @smooth.setter
    def smooth(self, value: float) -> None:
        if not value > 0:
            raise ValueError(f"smooth = {value} is not positive")
        self._smooth = float(value)
        n_x, n_y, _ = self.shp_xyz
        weights = (central_weights(n, self._smooth).tolist() for n in (n_x, n_y))
        self._columns = tuple(tuple(of) for of in weights)

    def get_predictions(self) -> list[Tensor | None]:
        """Fill level of each volume [m], shape (1,); None where no muon was accepted."""
        if not self.scatter_batches:
            return []
        exposure = self.exposure(lambda me, scatters: me._heights([scatters]))
        muons = exposure or self._heights(self.in_memory())
        levels = fill_level(muons, detach_quantiles=self.detach_quantiles)
        seen = torch.isfinite(levels.level.detach()).tolist()
        self.variances = [v if ok else None for v, ok in zip(levels.variance, seen, strict=True)]
        return [level[None] if ok else None for level, ok in zip(levels.level, seen, strict=True)]

    def _reset_vars(self) -> None:
        self.variances = []

    def _heights(self, batches: Sequence[Scatters]) -> Heights:
        n_volumes = batches[0].n_volumes
        poca = Poca(
            xyz=merge([batch.poca.xyz for batch in batches], n_volumes),
            sigma=merge([batch.poca.sigma for batch in batches], n_volumes),
            valid=merge([batch.valid for batch in batches], n_volumes),
        )
        return heights(
            poca,
            merge([self.compute_efficiency(batch) for batch in batches], n_volumes),
            n_volumes,
            (constants(self._columns[0], poca.xyz), constants(self._columns[1], poca.xyz)),
            self.size,
            weighted_quantiles=self.weighted_quantiles,
        )
