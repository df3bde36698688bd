"""Records of where tracks come closest and where muons hit the panels (spec 9.11)."""

from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.optional import optional_module
from tomopt_tasks.detectors.hits import Hits, Lines, true_positions


class ScatterRecord(Callback):
    """Collects the points of closest approach inside the passive volume.

    Training, validation and prediction all add to the record; a fit or a prediction starts anew.
    """

    remembers: ClassVar[tuple[str, ...]] = ("record", "z_range", "n_layers")

    def __init__(self) -> None:
        self.record: list[Tensor] = []
        self.z_range = [0.0, 1.0]
        self.n_layers = 1

    def _reset(self) -> None:
        volume = self.attached.volume
        self.record = []
        self.z_range = [float(z) for z in volume.get_passive_z_range()]
        self.n_layers = len(volume.get_passives())

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self._reset()

    def on_pred_begin(self) -> None:
        """Start anew."""
        super().on_pred_begin()
        self._reset()

    def on_scatter_end(self) -> None:
        """Add the scatters of the batch."""
        batch = self.fit_params.sb
        inside = batch.poca.xyz.detach()[batch.valid][batch.get_scatter_mask()]
        self.record.append(inside.cpu())

    def get_record(self, as_df: bool = False) -> Any:  # noqa: FBT001, FBT002
        """All points [m].

        Args:
            as_df: as a pandas table with columns x, y, z and layer (0 = top) instead of a tensor
                (point, 3).
        """
        points = torch.cat(self.record) if self.record else torch.zeros(0, 3)
        if not as_df:
            return points
        z_low, z_high = self.z_range
        return _table(points, layer_of(points[:, 2], (z_low, z_high), self.n_layers))


class HitRecord(Callback):
    """Collects the measured hits of all kept muons; a fit or a prediction starts anew."""

    remembers: ClassVar[tuple[str, ...]] = ("record",)

    def __init__(self) -> None:
        self.record: list[Tensor] = []

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self.record = []

    def on_pred_begin(self) -> None:
        """Start anew."""
        super().on_pred_begin()
        self.record = []

    def on_scatter_end(self) -> None:
        """Add the hits of the batch."""
        batch = self.fit_params.sb
        sides = [reco_xyz(side.lines, side.hits) for side in (batch.above, batch.below)]
        self.record.append(torch.cat(sides, 1).detach()[batch.valid].cpu())

    def get_record(self, as_df: bool = False) -> Any:  # noqa: FBT001, FBT002
        """All hits [m]; a panel that did not see the muon has NaN.

        Args:
            as_df: as a pandas table of the hits that there are, with columns x, y, z and layer,
                instead of a tensor (muon, panel, 3). The layer is the index of the panel, first
                those above, then those below, so that panels keep theirs when they move.
        """
        hits = torch.cat(self.record) if self.record else torch.zeros(0, 0, 3)
        if not as_df:
            return hits
        panel = torch.arange(hits.shape[1]).expand(hits.shape[:2])
        seen = ~hits.isnan().any(-1)
        return _table(hits[seen], panel[seen])


def layer_of(
    z: Float[Tensor, " n"], z_range: tuple[float, float], n_layers: int
) -> Int[Tensor, " n"]:
    """Layer that a height lies in, 0 at the top; heights outside count to the nearest (D-42).

    Args:
        z: heights [m].
        z_range: bottom and top of the passive volume [m].
        n_layers: layers of equal thickness.
    """
    z_low, z_high = z_range
    depth = (z_high - z) / (z_high - z_low) * n_layers
    return torch.floor(depth).long().clamp(0, n_layers - 1)


def reco_xyz(lines: Lines, hits: Hits) -> Float[Tensor, "mu panel 3"]:
    """Measured positions [m]; NaN where a panel did not see the muon."""
    z = lines.z - hits.depth
    xy = true_positions(lines, z) + hits.residual
    xyz = torch.cat([xy, z[None, :, None].expand(len(xy), -1, 1)], -1)
    return torch.where(hits.present[..., None], xyz, torch.nan)


def _table(points: Float[Tensor, "n 3"], layer: Int[Tensor, " n"]) -> Any:
    pandas = optional_module("pandas", purpose="a table of a record", install="pandas")
    columns = {name: points[:, k].numpy() for k, name in enumerate("xyz")}
    return pandas.DataFrame({**columns, "layer": layer.numpy()})
