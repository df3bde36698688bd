"""Records of where tracks come closest and where muons hit the panels (spec 9.11)."""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.optional import optional_module
from tomopt_tasks.detectors.hits import Hits, Lines, true_positions


class _Record(Callback):
    """What is seen of the kept muons, with the volume and the number of each muon.

    Training, validation and prediction all add to the record; a fit or a prediction starts anew.

    Args:
        max_muons: muons of a prediction to record at most, spread evenly over its volumes: the
            first of each; None: all, as in a fit.
    """

    remembers: ClassVar[tuple[str, ...]] = ("record", "numbers")

    def __init__(self, max_muons: int | None = None) -> None:
        self.max_muons = max_muons
        self.room: Tensor | None = None
        self._reset()

    def _reset(self) -> None:
        self.record: list[Tensor] = []
        self.numbers: list[Tensor] = []

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self._reset()
        self.room = None

    def on_pred_begin(self) -> None:
        """Start anew."""
        super().on_pred_begin()
        self._reset()
        if self.max_muons is not None:
            n_volumes = len(self.fit_params.tst_passives)
            each, more = divmod(self.max_muons, n_volumes)
            self.room = each + (torch.arange(n_volumes) < more).long()

    def _add(self, seen: Bool[Tensor, " mu"], values: Float[Tensor, "mu ..."]) -> None:
        """Add what was seen of some muons of the batch."""
        batch = self.fit_params.sb
        first = self.fit_params.volume_id - batch.n_volumes + 1
        seen = self._with_room(seen.cpu().view(batch.n_volumes, -1), first)
        volume, muon = seen.nonzero(as_tuple=True)
        before = getattr(getattr(batch, "mu", None), "first", 0)
        self.numbers.append(torch.stack([first + volume, before + muon], 1))
        self.record.append(values.detach()[seen.view(-1).to(values.device)].cpu())

    def _with_room(self, seen: Bool[Tensor, "vol mu"], first: int) -> Bool[Tensor, "vol mu"]:
        """Those that each volume has room for, which they fill."""
        if self.room is None:
            return seen
        room = self.room[first : first + len(seen)]
        seen = seen & (seen.cumsum(1) <= room[:, None])
        room -= seen.sum(1)
        return seen

    def _numbers(self) -> Int[Tensor, "n 2"]:
        return torch.cat(self.numbers) if self.numbers else torch.zeros(0, 2, dtype=torch.int64)


class ScatterRecord(_Record):
    """Collects the points of closest approach inside the passive volume."""

    remembers: ClassVar[tuple[str, ...]] = (*_Record.remembers, "z_range", "n_layers")

    def __init__(self, max_muons: int | None = None) -> None:
        super().__init__(max_muons)
        self.z_range = [0.0, 1.0]
        self.n_layers = 1

    def _reset(self) -> None:
        super()._reset()
        if self.wrapper is not None:
            self.z_range = [float(z) for z in self.attached.volume.get_passive_z_range()]
            self.n_layers = len(self.attached.volume.get_passives())

    def on_scatter_end(self) -> None:
        """Add the scatters of the batch."""
        batch = self.fit_params.sb
        inside = batch.valid.clone()
        inside[batch.valid] = batch.get_scatter_mask()
        self._add(inside, batch.poca.xyz)

    def get_record(self, as_df: bool = False) -> Any:  # noqa: FBT001, FBT002
        """All points [m].

        Args:
            as_df: as a pandas table with columns x, y, z and layer (0 = top) instead of a tensor
                (point, 3).
        """
        points = torch.cat(self.record) if self.record else torch.zeros(0, 3)
        return _table(points, self._layer(points)) if as_df else points

    def _layer(self, points: Float[Tensor, "n 3"]) -> Int[Tensor, " n"]:
        z_low, z_high = self.z_range
        return layer_of(points[:, 2], (z_low, z_high), self.n_layers)

    def columns(self) -> dict[str, Tensor]:
        """One row a point: x, y, z [m], layer (0 = top), volume, and muon of the volume's bank."""
        points, (volume, muon) = self.get_record(), self._numbers().T
        layer = self._layer(points)
        return {**_xyz(points), "layer": layer, "volume": volume, "muon": muon}


class HitRecord(_Record):
    """Collects the measured hits of all kept muons."""

    def on_scatter_end(self) -> None:
        """Add the hits of the batch."""
        batch = self.fit_params.sb
        sides = [reco_xyz(side.lines, side.hits) for side in (batch.above, batch.below)]
        self._add(batch.valid, torch.cat(sides, 1))

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
        seen, (_, panel) = _hits_there(hits)
        return _table(hits[seen], panel)

    def columns(self) -> dict[str, Tensor]:
        """One row a hit: x, y, z [m], panel, volume, and muon of the volume's bank."""
        hits = self.get_record()
        seen, (row, panel) = _hits_there(hits)
        volume, muon = self._numbers()[row].T
        return {**_xyz(hits[seen]), "panel": panel, "volume": volume, "muon": muon}


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
    columns = {name: values.numpy() for name, values in _xyz(points).items()}
    return pandas.DataFrame({**columns, "layer": layer.numpy()})


def _xyz(points: Float[Tensor, "n 3"]) -> dict[str, Tensor]:
    return {name: points[:, k] for k, name in enumerate("xyz")}


def _hits_there(
    hits: Float[Tensor, "mu panel 3"],
) -> tuple[Bool[Tensor, "mu panel"], tuple[Tensor, Tensor]]:
    """Which hits there are, and the row and the panel of each."""
    seen = ~hits.isnan().any(-1)
    row, panel = seen.nonzero(as_tuple=True)
    return seen, (row, panel)
