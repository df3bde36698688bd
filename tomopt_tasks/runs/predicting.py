"""Predict a user's own object with a detector of a run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.caching.device import compute_device
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.inputs import PredictInputs
from tomopt_tasks.planning.plan import FITTED, Stage, plan_study
from tomopt_tasks.reports.text import Answer
from tomopt_tasks.runs.manifest import study_of
from tomopt_tasks.store.store import Store
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.grid_files import check_grids, read_grids
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.build import build_volume, build_wrapper
from tomopt_tasks.wrapper.checkpoint import result_volume
from tomopt_tasks.wrapper.observers import PredictionRecord
from tomopt_tasks.wrapper.scans import BankedPassives


@dataclass(frozen=True)
class Predicted:
    """What a detector makes of some objects."""

    values: Float[np.ndarray, " volume"]
    """Calibrated prediction of each; of voxels: the RMS error against the given X0 [m], or the root
    of the share of voxels whose material is wrong."""
    grids: Float[np.ndarray, "volume z x y"] | None
    """Predicted radiation lengths [m] or numbers of materials, if the run predicts voxels."""
    grid: str | None
    """What the grids hold: ``x0`` or ``material``."""
    accepted: int
    """Muons that the panels saw, in all volumes."""
    density: bool = False
    """Errors of voxels are of scattering densities [1/m]."""

    def answer(self) -> Answer:
        """What the command says; grids are left to files."""
        words = {"x0": "RMS error of the radiation lengths [m]"}
        if self.density:
            words["x0"] = "RMS error of the scattering densities [1/m]"
        words["material"] = "root of the share of voxels with a wrong material"
        what = words.get(self.grid or "", "prediction")
        values = self.values.tolist()
        lines = [f"object {n}: {what} {value:.4g}" for n, value in enumerate(values)]
        data = {"what": what, "values": values, "accepted": self.accepted}
        return Answer(data, [*lines, f"{self.accepted} muons accepted"])


def read_object(file: Path, world: World) -> Float[Tensor, "vol z x y"]:
    """Radiation lengths [m] of one or several objects from a file of voxel grids.

    Args:
        file: npz or CSV, see ``volume.grid_files``.
        world: gives the shape.

    Raises:
        UserError: no such file, no grids in it, or not those of the world.
    """
    grids = read_grids(file)
    try:
        check_grids(grids, world)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    return torch.from_numpy(grids.x0)


def predict_object(store: Store, run: str, file: Path, design: str = FITTED) -> Predicted:
    """Send the muons of a run's study through an object, and predict it.

    Args:
        store: where the run is.
        run: its id.
        file: see ``read_object``.
        design: a design of the run; ``fit`` is the optimised one.

    Raises:
        UserError: the file is wrong, or the run has no such design in the store.
    """
    study = study_of(store, run)
    stages = plan_study(study)
    chosen = next((stage for stage in stages if stage.label == f"{design} on test"), None)
    if chosen is None or not isinstance(chosen.inputs, PredictInputs):
        known = ", ".join(study.compare)
        raise UserError(f"run {run} has no design {design!r}; its designs are {known}")
    inputs = chosen.inputs
    x0 = read_object(file, study.world).to(compute_device())
    seed = study.muons.seed
    state, _ = transport(x0, study.world, study.muons, study.transport, seed, "object")
    volume = _detector(store, run, stages, chosen)
    for layer in volume.get_detectors():
        for panel in layer.panels:
            panel.realistic_validation = inputs.edges == "hard"
    judged = _judged(store, run, stages[-1], design)
    wrapper = build_wrapper(
        volume, inputs.inference, None, {}, inputs.seed, fitting=False,
        fiducial=judged["fiducial_cut"],
    )  # fmt: skip
    record = PredictionRecord(inference=inputs.inference)
    passives = BankedPassives(x0, x0.new_zeros(len(x0)), state)
    wrapper.to(x0.device)
    wrapper.predict(passives, state.shape[1], state.shape[1], pred_cb=record)
    slope, intercept = judged["calibration"]
    return Predicted(
        slope * record.get_preds().numpy() + intercept,
        torch.stack(record.grids).numpy() if record.grids else None,
        {"x0": "x0", "voxel_class": "material"}.get(record.predicts),
        int(torch.cat(record.accepted).sum()),
        record.density,
    )


def _detector(store: Store, run: str, stages: list[Stage], chosen: Stage) -> Volume:
    """The design as it is written, or the checkpoint of what was fitted for it."""
    inputs = chosen.inputs
    assert isinstance(inputs, PredictInputs)
    if inputs.detector is None:
        for stage in reversed(stages):
            ref = store.find("checkpoint", stage.key) if stage.name == "fit_epoch" else None
            if ref is not None:
                return result_volume(store.get_record(ref))
        raise _missing(run)
    if "checkpoint" not in chosen.parents:
        return build_volume(inputs.world, inputs.detector)
    ref = store.find("checkpoint", chosen.parents["checkpoint"])
    if ref is None:
        raise _missing(run)
    return result_volume(store.get_record(ref))


def _judged(store: Store, run: str, stage: Stage, design: str) -> Mapping[str, Any]:
    """What the evaluation of the run found for the design: its line and its cut in software."""
    ref = store.find(stage.kind, stage.key)
    if ref is None:
        raise _missing(run)
    found: Mapping[str, Any] = store.get_record(ref)["designs"][design]
    return found


def _missing(run: str) -> UserError:
    return UserError(
        f"run {run} is not complete in the store as this version of the code makes it; run its "
        "study again"
    )
