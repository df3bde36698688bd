"""Predictions beside the truth as HDF5 files, in the form of the ``Save2HDF5PredHandler``."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from tomopt_tasks.callbacks.optional import optional_module
from tomopt_tasks.config.report_settings import Hdf5PredictionsSettings
from tomopt_tasks.core import UserError
from tomopt_tasks.runs.results import find_or_recall, last_stage, recorded
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.store.store import Store

GRIDS = ("x0", "material")
"""Arrays of predictions where voxels are predicted."""


def hdf5() -> Any:  # noqa: ANN401 - an optional library
    """The library that writes the files.

    Raises:
        UserError: it is not installed.
    """
    purpose = "report.files: hdf5_predictions"
    return optional_module("h5py", purpose=purpose, install="h5py")


def prediction_files(store: Store, run: str, settings: Hdf5PredictionsSettings) -> dict[str, bytes]:
    """Design -> an HDF5 file with one row a test volume in ``preds`` and in ``targs``.

    Args:
        store: where the run is.
        run: its id; finished.
        settings: what predictions stand beside.

    Raises:
        UserError: the objects of the test were given up, or h5py is not installed.
    """
    stages = recorded(store, run).stages
    by_key = {stage.key: stage for stage in stages}
    made = {}
    for role, key in last_stage(stages, "evaluate").components["parents"].items():
        split, _, design = role.partition("/")
        if split != "test":
            continue
        parents = by_key[key].components["parents"]
        opened = []
        for stage in (by_key[key], by_key[parents["volumes"]]):
            ref = find_or_recall(store, stage)
            if ref is None or store.find(ref.kind, ref.key) is None:
                raise UserError(
                    f"report.files: {stage.label} of run {run} is not in the store any more; "
                    "run its study again to mend it"
                )
            opened.append(store.open_dataset(ref))
        preds, targs = _rows(opened[0], opened[1], settings.truth)
        made[design] = _file({"preds": preds, "targs": targs}, settings.compression)
    return made


def _rows(predictions: Dataset, volumes: Dataset, truth: str | None) -> tuple[Any, Any]:
    """Predictions at the largest exposure, and what they are compared with."""
    grid = next((name for name in GRIDS if name in predictions.names), None)
    if grid is None:
        full = int(np.argmax(predictions.array("n_muons")))
        preds = predictions.array("prediction")[full][:, None]
    else:
        preds = predictions.array(grid)
    targs = volumes.array(truth or ("target" if grid is None else "x0"))
    return preds, targs[:, None] if targs.ndim == 1 else targs


def _file(rows: Mapping[str, np.ndarray], compression: str) -> bytes:
    """An HDF5 file of float32 rows, which can be appended to."""
    buffer = io.BytesIO()
    with hdf5().File(buffer, "w") as file:
        for name, values in rows.items():
            file.create_dataset(
                name,
                data=values.astype(np.float32),
                maxshape=(None, *values.shape[1:]),
                chunks=(1, *values.shape[1:]),
                compression=None if compression == "none" else compression,
            )
    return buffer.getvalue()
