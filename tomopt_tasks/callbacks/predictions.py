"""Collectors of predictions (spec 9.11)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.optional import optional_module
from tomopt_tasks.core import UserError
from tomopt_tasks.utils import x0targs_to_classtargs

Pair = tuple[NDArray[Any], NDArray[Any]]


class PredHandler(Callback):
    """Collects, for every volume of a prediction, what was predicted and the true X0 of each voxel.

    A volume without a prediction (no muon was accepted) counts as NaN. Stands last in the list.
    """

    remembers: ClassVar[tuple[str, ...]] = ("preds",)

    def __init__(self) -> None:
        self.preds: list[tuple[Tensor, Tensor]] = []

    def on_pred_begin(self) -> None:
        """Forget earlier predictions."""
        super().on_pred_begin()
        self.preds = []

    def on_x0_pred_end(self) -> None:
        """Take the prediction and its truth."""
        if self.fit_params.state == "test":
            pred, truth = self.fit_params.pred, self.truth().detach().cpu()
            if pred is None:
                pred = torch.full(truth.shape, float("nan"))
            self.take(pred.detach().cpu().clone(), truth.clone())

    def truth(self) -> Tensor:
        """What the prediction is compared with."""
        cube: Tensor = self.attached.volume.get_rad_cube()
        return cube

    def take(self, pred: Tensor, truth: Tensor) -> None:
        """Keep one prediction."""
        self.preds.append((pred, truth))

    def get_preds(self) -> list[Pair]:
        """Prediction and truth of every volume, in order."""
        return [(pred.numpy(), truth.numpy()) for pred, truth in self.preds]


class VolumeTargetPredHandler(PredHandler):
    """Collects predictions with the target of each volume.

    Args:
        x02id: X0 [m] -> class; targets are mapped to the class of the nearest X0. None: as they
            are.
    """

    def __init__(self, x02id: Mapping[float, int] | None = None) -> None:
        super().__init__()
        self.x02id = x02id

    def truth(self) -> Tensor:
        """The target of the volume, or its class."""
        return _target(self.attached.volume, self.x02id)


class Save2HDF5PredHandler(PredHandler):
    """Appends predictions and truths to an HDF5 file as float32 rows ``preds`` and ``targs``.

    Args:
        path: the file.
        use_volume_target: compare with the target of the volume, else with the X0 of its voxels.
        overwrite: delete an existing file now; else rows are appended to it.
        x02id: as for volume targets.
        compression: filter of HDF5.

    Raises:
        UserError: ``x02id`` without volume targets.
    """

    def __init__(
        self,
        path: str | Path,
        use_volume_target: bool,  # noqa: FBT001
        overwrite: bool = False,  # noqa: FBT001, FBT002
        x02id: Mapping[float, int] | None = None,
        compression: str | None = "lzf",
    ) -> None:
        super().__init__()
        if x02id is not None and not use_volume_target:
            raise UserError("x02id maps volume targets; give use_volume_target=True with it")
        self.path = Path(path)
        self.use_volume_target = use_volume_target
        self.x02id = x02id
        self.compression = compression
        if overwrite:
            self.path.unlink(missing_ok=True)

    def truth(self) -> Tensor:
        """The target of the volume or the X0 of its voxels."""
        if self.use_volume_target:
            return _target(self.attached.volume, self.x02id)
        return super().truth()

    def take(self, pred: Tensor, truth: Tensor) -> None:
        """Append one row to each data set; the file is closed again (D-44)."""
        h5py = optional_module("h5py", purpose="Save2HDF5PredHandler", install="h5py")
        with h5py.File(self.path, "a") as file:
            for name, value in (("preds", pred), ("targs", truth)):
                self._append(file, name, value.to(torch.float32).numpy())

    def _append(self, file: Any, name: str, row: NDArray[Any]) -> None:
        if name not in file:
            shape = (0, *row.shape)
            options = {"maxshape": (None, *row.shape), "chunks": (1, *row.shape)}
            file.create_dataset(
                name, shape=shape, dtype="float32", compression=self.compression, **options
            )
        rows = file[name]
        if rows.shape[1:] != row.shape:
            if not np.isnan(row).all():
                raise UserError(
                    f"{self.path.name}: {name} holds rows of shape {rows.shape[1:]}, but this one "
                    f"has {row.shape}; write other predictions to another file"
                )
            row = np.full(rows.shape[1:], np.nan, dtype=np.float32)
        rows.resize(len(rows) + 1, axis=0)
        rows[-1] = row


def _target(volume: Any, x02id: Mapping[float, int] | None) -> Tensor:
    target = torch.as_tensor(volume.target)
    return target if x02id is None else x0targs_to_classtargs(target, x02id)
