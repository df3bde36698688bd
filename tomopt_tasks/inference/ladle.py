"""Inferrers of the ladle-furnace benchmark (spec 5.8)."""

from typing import Any

import torch
from torch import Tensor

from tomopt_tasks.inference.fill_level import central_weights, fill_level
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.volume import AbsVolumeInferrer


class PocaZLadleFurnaceFillLevelInferrer(AbsVolumeInferrer):
    """Fill level as a weighted mean height of the points of closest approach.

    Args:
        volume: the volume that was irradiated.
        smooth: edge width of the central weights in half-widths of the volume; > 0.
        detach_quantiles: treat the clipping quantiles as constants (the behaviour of TomOpt).
        weighted_quantiles: muons count with their acceptance in the quantiles; False as TomOpt.
    """

    takes_reduced = True

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
        self._columns = (central_weights(n_x, self._smooth), central_weights(n_y, self._smooth))

    def get_predictions(self) -> list[Tensor | None]:
        """Fill level of each volume [m], shape (1,); None where no muon was accepted."""
        if not self.scatter_batches:
            return []
        poca = Poca(
            xyz=self.merged(lambda batch: batch.poca.xyz),
            sigma=self.merged(lambda batch: batch.poca.sigma),
            valid=self.merged(lambda batch: batch.valid),
        )
        levels = fill_level(
            poca,
            self.merged(self.compute_efficiency),
            self.n_volumes,
            (self._columns[0].to(poca.xyz), self._columns[1].to(poca.xyz)),
            self.size,
            detach_quantiles=self.detach_quantiles,
            weighted_quantiles=self.weighted_quantiles,
        )
        seen = torch.isfinite(levels.level.detach()).tolist()
        self.variances = [v if ok else None for v, ok in zip(levels.variance, seen, strict=True)]
        return [level[None] if ok else None for level, ok in zip(levels.level, seen, strict=True)]
