"""What came out of a run, read back from its manifest and the store: also after years."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.materials import find_material
from tomopt_tasks.planning.accept import descendants
from tomopt_tasks.planning.history import Known, stages_of
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.reports.data import ReportData
from tomopt_tasks.runs.manifest import ENDS, epoch_row, last_made
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

RECORDED = ("scatter_", "hit_")
"""How the names of arrays begin that were recorded for themselves."""


@dataclass(frozen=True)
class Recorded:
    """A run as its manifest tells it."""

    id: str
    entries: Sequence[Mapping[str, Any]]

    @property
    def stages(self) -> list[Known]:
        """The plan, in order."""
        return stages_of(self.entries)

    @property
    def session(self) -> Sequence[Mapping[str, Any]]:
        """The entries from the last start on."""
        starts = [n for n, entry in enumerate(self.entries) if entry["event"] == "started"]
        return self.entries[starts[-1] :]

    @property
    def started(self) -> Mapping[str, Any]:
        """The last start."""
        return self.session[0]

    @property
    def ended(self) -> Mapping[str, Any]:
        """The last end; empty if it was killed or still runs."""
        return next((entry for entry in self.session if entry["event"] in ENDS), {})

    @property
    def accepted(self) -> set[str]:
        """Keys of stages that hang on a result of older code, taken with its consent."""
        stages = self.stages
        labels = self.started.get("accepted") or {}
        parents = {stage.key: stage.components["parents"].values() for stage in stages}
        return descendants(parents, {stage.key for stage in stages if stage.label in labels})


def recorded(store: Store, run: str) -> Recorded:
    """The run with this id.

    Raises:
        UserError: its manifest is damaged.
    """
    entries = store.read_run(run)
    if not any(entry.get("plan") for entry in entries):
        raise UserError(f"the manifest of run {run} in {store.url} is damaged; run its study again")
    return Recorded(run, entries)


def results_of(store: Store, run: str) -> ReportData:
    """Everything that the report of a run shows.

    Raises:
        UserError: the run has not finished, or what it made is lost.
    """
    record = recorded(store, run)
    stages = record.stages
    refs = {stage.key: find_or_recall(store, stage) for stage in stages}
    evaluation = last_stage(stages, "evaluate")
    predictions, grids, records = {}, {}, {}
    for role, key in evaluation.components["parents"].items():
        split, _, design = role.partition("/")
        if split == "test":
            dataset = store.open_dataset(_there(run, refs[key]))
            arrays = {name: dataset.array(name) for name in dataset.names}
            predictions[design] = Predictions.from_arrays(arrays, dataset.attrs)
            records[design] = {name: arrays[name] for name in arrays if name.startswith(RECORDED)}
            grid = next((arrays[name][0] for name in ("x0", "material") if name in arrays), None)
            if grid is not None:
                grids[design] = grid
    settings = record.started["settings"]
    tree = store.get_record(_there(run, refs[evaluation.key]))
    order = evaluation.components["inputs"]["designs"]
    return ReportData(
        title=settings["report"]["title"],
        study=settings,
        evaluation=tree,
        predictions={name: predictions[name] for name in order},
        truth=_truth(store, stages, settings["inference"]) if grids else None,
        grids=grids,
        records=records,
        history=_history(stages, refs),
        first=_first(stages, refs),
        stages=_rows(record, stages),
        provenance=_provenance(record),
        command=command_of(record),
        older_code=_marked(record, order),
    )


def _truth(
    store: Store,
    stages: Sequence[Known],
    inference: Mapping[str, Any],
) -> np.ndarray | None:
    """Radiation lengths [m], or numbers of materials, of the first test volume, if still there."""
    volumes = next((stage for stage in stages if stage.label == "test volumes"), None)
    ref = None if volumes is None else store.find("volumes", volumes.key)
    if ref is None:
        return None
    x0 = store.open_dataset(ref).array("x0")[0]
    if "voxel_class" not in (inference.get("kind"), inference.get("predicts")):
        return np.asarray(x0)
    x0s = np.array([find_material(name).x0 for name in inference["materials"]])
    return np.asarray(np.abs(x0[..., None] - x0s).argmin(-1))


def find_or_recall(store: Store, stage: Known) -> Ref | None:
    """The ref of a stage's result; of one that was given up, its metrics are still there."""
    kind = KINDS[stage.name]
    return store.find(kind, stage.key) or store.tombstone(kind, stage.key)


def _there(run: str, ref: Ref | None) -> Ref:
    if ref is None:
        raise UserError(f"run {run} is not complete in the store; run its study again to mend it")
    return ref


def last_stage(stages: Sequence[Known], name: str) -> Known:
    """The last stage of a plan that runs this function."""
    return [stage for stage in stages if stage.name == name][-1]


def _history(stages: Sequence[Known], refs: Mapping[str, Ref | None]) -> list[dict[str, Any]]:
    """One row an epoch, in order."""
    found = ((stage, refs[stage.key]) for stage in stages if stage.name == "fit_epoch")
    return [epoch_row(stage.label, stage.components, ref.metrics) for stage, ref in found if ref]


def _first(stages: Sequence[Known], refs: Mapping[str, Ref | None]) -> Mapping[str, Any]:
    """The metrics of the checkpoint that the first epoch goes on from."""
    epoch = next((stage for stage in stages if stage.name == "fit_epoch"), None)
    ref = None if epoch is None else refs.get(epoch.components["parents"]["checkpoint"])
    return {} if ref is None else ref.metrics


def _rows(record: Recorded, stages: Sequence[Known]) -> list[dict[str, Any]]:
    """One row a stage: what the last run of it found and made."""
    made = last_made(record.entries)
    ran = last_made(record.session)
    return [
        {
            "label": stage.label,
            "name": stage.name,
            "kind": KINDS[stage.name],
            "key": stage.key,
            "parents": list(stage.components["parents"].values()),
            "status": "ran" if stage.key in ran else "cached",
            "seconds": made.get(stage.key, {}).get("seconds"),
            "reason": ran.get(stage.key, {}).get("reason", ""),
        }
        for stage in stages
    ]


def _provenance(record: Recorded) -> dict[str, Any]:
    start, end = record.started, record.ended
    shown = ("versions", "seeds", "host", "runner")
    found = {
        "run": record.id,
        "started": start["at"],
        "finished": end.get("at"),
        "seconds": end.get("seconds"),
        "code": start["commit"],
        **{name: start[name] for name in shown},
    }
    return {name: value for name, value in found.items() if value}


def _marked(record: Recorded, designs: Sequence[str]) -> tuple[str, ...]:
    """Designs of which some number hangs on accepted results of older code."""
    accepted = record.accepted
    evaluation = last_stage(record.stages, "evaluate")
    of_design: dict[str, bool] = dict.fromkeys(designs, False)
    for role, key in evaluation.components["parents"].items():
        design = role.partition("/")[2]
        of_design[design] = of_design[design] or key in accepted
    made_by_older = evaluation.label in (record.started.get("accepted") or {})
    return tuple(name for name, marked in of_design.items() if marked or made_by_older)


def command_of(record: Recorded) -> str:
    """The shell command that makes the run again."""
    source = record.started.get("source") or {}
    words = ["tomopt", "run", str(source.get("study", "study.yaml"))]
    for place, value in source.get("changes", ()):
        words += ["--set", f"{place}={value}"]
    if record.started.get("accepted"):
        words.append("--accept-code-changes")
    return shlex.join(words)
