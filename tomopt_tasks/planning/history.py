"""What earlier runs planned and made, from their manifests: to explain, accept and estimate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from tomopt_tasks.caching.closure import code_parts
from tomopt_tasks.caching.keys import digest
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.store.store import Store

MOST_RUNS = 20
"""Runs that are looked through for the nearest stored result."""


@dataclass(frozen=True)
class Known:
    """A stage of an earlier run."""

    name: str
    """Stage."""
    label: str
    """What it was for."""
    key: str
    """Where its result lies, if it was made."""
    components: Mapping[str, Any]
    """Everything that its key hashes."""
    modules: Mapping[str, str]
    """Module -> digest of the code that it ran."""
    made: bool
    """Whether a run is known to have had its result."""
    measured: Mapping[str, Any]
    """Digest, time, size and memory of the last time that its body ran; empty: not in that run."""
    invalidated: bool = False
    """Whether somebody threw the result away since."""
    study: str = ""
    """Name of the study, as run ids spell it."""


def pack(stages: Sequence[Stage]) -> dict[str, Any]:
    """The stages of a plan for a manifest: whole sections of the inputs that repeat come once."""
    pool: dict[str, Any] = {}
    rows = []
    codes = {name: code_parts(name) for name in dict.fromkeys(stage.name for stage in stages)}
    usual: dict[str, str] = {}
    older: dict[str, Mapping[str, str]] = {}
    for stage in stages:
        inputs = {}
        for name, value in stage.components["inputs"].items():
            inputs[name] = value
            if isinstance(value, dict | list):
                short = digest(value)[:16]
                pool[short] = value
                inputs[name] = {"$": short}
        row = {
            "name": stage.name,
            "label": stage.label,
            "key": stage.key,
            "parents": dict(stage.parents),
            "inputs": inputs,
        }
        if stage.older:
            row["code"] = stage.components["code"]
            older[stage.components["code"]] = stage.older
        else:
            usual[stage.name] = stage.components["code"]
        rows.append(row)
    return {
        "stages": rows,
        "pool": pool,
        "code": {name: {"digest": usual.get(name, ""), **parts} for name, parts in codes.items()},
        "older": older,
        "schema": stages[0].components["schema"],
        "numerics": stages[0].components["numerics"],
    }


def unpack(
    plan: Mapping[str, Any],
    executed: Mapping[str, Mapping[str, Any]],
    *,
    complete: bool = False,
    invalidated: frozenset[str] = frozenset(),
) -> list[Known]:
    """The stages of a packed plan.

    Args:
        plan: what `pack` made.
        executed: key -> measures, of the stages whose body ran.
        complete: the run has finished, so that it had every result.
        invalidated: keys whose results were thrown away since.
    """
    known = []
    older = plan.get("older", {})
    for row in plan["stages"]:
        code = dict(plan["code"][row["name"]])
        usual = code.pop("digest")
        parts = {
            "stage": row["name"],
            "schema": plan["schema"],
            "inputs": {name: _value(value, plan["pool"]) for name, value in row["inputs"].items()},
            "parents": row["parents"],
            "code": row.get("code", usual),
            "numerics": plan["numerics"],
        }
        key, modules = row["key"], older.get(parts["code"], code)
        made = complete or key in executed
        gone = key in invalidated
        measured = executed.get(key, {})
        known.append(Known(row["name"], row["label"], key, parts, modules, made, measured, gone))
    return known


def _value(value: Any, pool: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return pool[value["$"]] if isinstance(value, dict) else value


class History:
    """Stages of the runs that are worth a comparison, the newest of the same study first.

    Args:
        store: where the manifests lie.
        study: name of the study that is planned.
        most: runs that are looked through.
    """

    def __init__(self, store: Store, study: str, most: int = MOST_RUNS) -> None:
        self.store = store
        self.study = study
        self.most = most

    @cached_property
    def stages(self) -> list[Known]:
        """Read when first asked for: a plan that is all stored needs none of it."""
        runs = self.store.recent_runs()
        ours = [run for run in runs if study_in(run) == slug(self.study)]
        others = [run for run in runs if study_in(run) != slug(self.study)]
        return [
            replace(known, study=study_in(run))
            for run in [*ours, *others][: self.most]
            for known in stages_of(self.store.read_run(run))
        ]

    @cached_property
    def _by_label(self) -> dict[tuple[str, str], list[Known]]:
        found: dict[tuple[str, str], list[Known]] = {}
        for known in self.stages:
            found.setdefault((known.name, known.label), []).append(known)
        return found

    def like(self, stage: Stage) -> list[Known]:
        """Stages of the same name and purpose."""
        return self._by_label.get((stage.name, stage.label), [])

    def measured(self) -> Iterator[Known]:
        """Stages whose body ran, with its measures."""
        return (known for known in self.stages if known.measured)


def slug(study: str) -> str:
    """The name of a study as run ids spell it."""
    name = "".join(letter if letter.isalnum() else "-" for letter in study.lower())
    return name.strip("-")[:80] or "study"


def study_in(run: str) -> str:
    """The name of the study in the id of a run."""
    return run.rpartition("-")[0]


def stages_of(entries: Sequence[Mapping[str, Any]]) -> list[Known]:
    """The plan of a run as it was carried out; empty if its manifest holds none."""
    plans = [entry["plan"] for entry in entries if entry.get("plan")]
    if not plans:
        return []
    executed: dict[str, Mapping[str, Any]] = {}
    gone: set[str] = set()
    for entry in entries:
        executed |= entry.get("executed", {})
        gone -= entry.get("executed", {}).keys()
        gone |= set(entry.get("invalidated", ()))
    complete = any(entry.get("event") == "finished" for entry in entries)
    return unpack(plans[-1], executed, complete=complete, invalidated=frozenset(gone))
