"""What came out of a run, read back from its manifest and the store: also after years."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.planning.history import Known, unpack
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.reports.data import ReportData
from tomopt_tasks.runs.manifest import epoch_row, last_made
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class Recorded:
    """A run as its manifest tells it."""

    id: str
    entries: Sequence[Mapping[str, Any]]

    @property
    def stages(self) -> list[Known]:
        """The plan, in order."""
        plan = next(entry["plan"] for entry in self.entries if entry.get("plan"))
        return unpack(plan, last_made(self.entries))

    @property
    def started(self) -> Mapping[str, Any]:
        """The last start."""
        return [entry for entry in self.entries if entry["event"] == "started"][-1]

    @property
    def ended(self) -> Mapping[str, Any]:
        """The last end; empty if it was killed or still runs."""
        last = self.entries[-1]
        return last if last["event"] != "started" else {}


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
    refs = {stage.key: store.find(KINDS[stage.name], stage.key) for stage in stages}
    evaluation = _last(stages, "evaluate")
    predictions = {}
    for role, key in evaluation.components["parents"].items():
        split, _, design = role.partition("/")
        if split == "test":
            dataset = store.open_dataset(_there(run, refs[key]))
            arrays = {name: dataset.array(name) for name in dataset.names}
            predictions[design] = Predictions.from_arrays(arrays, dataset.attrs)
    settings = record.started["settings"]
    tree = store.get_record(_there(run, refs[evaluation.key]))
    order = evaluation.components["inputs"]["designs"]
    return ReportData(
        title=settings["report"]["title"],
        study=settings,
        evaluation=tree,
        predictions={name: predictions[name] for name in order},
        history=_history(stages, refs),
        stages=_rows(record, stages),
        provenance=_provenance(record),
        command=_command(record),
    )


def _there(run: str, ref: Ref | None) -> Ref:
    if ref is None:
        raise UserError(f"run {run} is not complete in the store; run its study again to mend it")
    return ref


def _last(stages: Sequence[Known], name: str) -> Known:
    return [stage for stage in stages if stage.name == name][-1]


def _history(stages: Sequence[Known], refs: Mapping[str, Ref | None]) -> list[dict[str, Any]]:
    """One row an epoch, in order."""
    found = ((stage, refs[stage.key]) for stage in stages if stage.name == "fit_epoch")
    return [epoch_row(stage.label, stage.components, ref.metrics) for stage, ref in found if ref]


def _rows(record: Recorded, stages: Sequence[Known]) -> list[dict[str, Any]]:
    """One row a stage: what the last run of it found and made."""
    made = last_made(record.entries)
    ran = record.ended.get("executed", {})
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


def _command(record: Recorded) -> str:
    """The shell command that makes the run again."""
    source = record.started.get("source") or {}
    words = ["tomopt", "run", str(source.get("study", "study.yaml"))]
    for place, value in source.get("changes", ()):
        words += ["--set", f"{place}={value}"]
    return shlex.join(words)
