"""Predictions as the arrays of a dataset: at all exposures, with counts and what a report draws."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int

from tomopt_tasks.callbacks.records import HitRecord, ScatterRecord
from tomopt_tasks.store.arrays import ArraySpec
from tomopt_tasks.wrapper.observers import PredictionRecord
from tomopt_tasks.wrapper.scans import BankedPassives

N_TRACKS = 200
"""Muons whose tracks a report may draw."""
VOXEL = ("voxel_z", "voxel_x", "voxel_y")
"""Axes of a grid of predictions; the map of accepted muons has other cells in x and y."""


def prediction_arrays(
    records: Sequence[PredictionRecord],
    exposures: Sequence[int],
    passives: BankedPassives,
    generated: Int[np.ndarray, " volume"],
) -> dict[str, ArraySpec]:
    """Predictions at all exposures; counts, map and some tracks at the full one."""
    full, n_volumes = records[-1], len(passives)
    accepted_track = full.track_accepted
    assert accepted_track is not None
    aimed = passives.state.shape[1]
    predictions = np.stack([record.get_preds().numpy() for record in records])
    counts = {
        "generated": generated,
        "aimed": np.full(n_volumes, aimed, dtype=np.int64),
        "accepted": torch.cat(full.accepted).numpy(),
        "used": torch.cat(full.used).numpy(),
    }
    truth = passives.target.reshape(n_volumes, -1)[:, 0].cpu().numpy()
    grids = {}
    if full.predicts != "number":  # what is predicted is an error, which would best be zero
        truth, grid = np.zeros(n_volumes), torch.stack(full.grids).numpy()
        axes = ("volume", *VOXEL)
        if full.predicts == "x0":
            grids = {"x0": ArraySpec(grid, axes, "m", "predicted radiation length")}
        else:
            grids = {"material": ArraySpec(grid, axes, "", "predicted class of material")}
    return {
        **grids,
        "prediction": ArraySpec(predictions, ("exposure", "volume")),
        "truth": ArraySpec(truth, ("volume",)),
        "n_muons": ArraySpec(np.array(exposures, dtype=np.int64), ("exposure",)),
        **{name: ArraySpec(count, ("volume",)) for name, count in counts.items()},
        "track": ArraySpec(passives.state[:1][0, :N_TRACKS].numpy(), ("muon", "column")),
        "track_accepted": ArraySpec(accepted_track[: min(N_TRACKS, aimed)].numpy(), ("muon",)),
        "accepted_map": ArraySpec(full.accepted_map.numpy(), ("x", "y")),
    }


def cut_arrays(
    tried: Sequence[Sequence[PredictionRecord]], cuts: Sequence[float]
) -> dict[str, ArraySpec]:
    """Predictions at all exposures, and counts at the full one, with each cut in software."""
    dims = ("fiducial_cut", "exposure", "volume")
    by_cut = np.stack([[r.get_preds().numpy() for r in records] for records in tried])
    counts = {
        name: np.stack([torch.cat(getattr(records[-1], name)).numpy() for records in tried])
        for name in ("accepted", "used")
    }
    return {
        "fiducial_cut": ArraySpec(np.array(cuts), dims[:1], "m", "distance from the axis"),
        "prediction_cut": ArraySpec(by_cut, dims),
        **{f"{name}_cut": ArraySpec(count, dims[::2]) for name, count in counts.items()},
    }


ABOUT = {
    "x": ("m", ""),
    "y": ("m", ""),
    "z": ("m", ""),
    "layer": ("", "layer of voxels, 0 at the top"),
    "panel": ("", "number of the panel in `panels`"),
    "volume": ("", "number of the volume"),
    "muon": ("", "number of the muon in the bank of its volume"),
}
"""Column of a record -> unit, and what it is."""


def record_arrays(
    records: Sequence[ScatterRecord | HitRecord], panels: Sequence[str]
) -> dict[str, ArraySpec]:
    """What was recorded, column by column: ``scatter_x``, ``hit_panel``, ...

    Args:
        records: after a prediction.
        panels: names of the panels, those above first.
    """
    found = {}
    for record in records:
        scatters = isinstance(record, ScatterRecord)
        dim, point = ("scatter", "point of closest approach") if scatters else ("hit", "hit")
        for name, values in record.columns().items():
            units, what = ABOUT[name]
            attrs = {"panels": list(panels)} if name == "panel" else {}
            about = what or f"{name} of the {point}"
            found[f"{dim}_{name}"] = ArraySpec(values.numpy(), (dim,), units, about, attrs)
    return found
