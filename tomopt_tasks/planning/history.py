"""What earlier runs planned and made, read from their manifests, to explain a miss."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
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
    study: str = ""
    """Name of the study, as run ids spell it."""


def pack(stages: Sequence[Stage]) -> dict[str, Any]:
    """The stages of a plan for a manifest: whole sections of the inputs that repeat come once."""
    pool: dict[str, Any] = {}
    rows = []
    for stage in stages:
        inputs = {}
        for name, value in stage.components["inputs"].items():
            inputs[name] = value
            if isinstance(value, dict | list):
                short = digest(value)[:16]
                pool[short] = value
                inputs[name] = {"$": short}
        rows.append(
            {
                "name": stage.name,
                "label": stage.label,
                "key": stage.key,
                "parents": dict(stage.parents),
                "inputs": inputs,
            }
        )
    names = dict.fromkeys(stage.name for stage in stages)
    first = {stage.name: stage.components for stage in reversed(stages)}
    return {
        "stages": rows,
        "pool": pool,
        "code": {name: {"digest": first[name]["code"], **code_parts(name)} for name in names},
        "schema": stages[0].components["schema"],
        "numerics": stages[0].components["numerics"],
    }


def unpack(plan: Mapping[str, Any], made: Iterable[str]) -> list[Known]:
    """The stages of a packed plan; ``made`` are the keys of those whose result existed."""
    done = set(made)
    known = []
    for row in plan["stages"]:
        code = dict(plan["code"][row["name"]])
        parts = {
            "stage": row["name"],
            "schema": plan["schema"],
            "inputs": {name: _value(value, plan["pool"]) for name, value in row["inputs"].items()},
            "parents": row["parents"],
            "code": code.pop("digest"),
            "numerics": plan["numerics"],
        }
        known.append(Known(row["name"], row["label"], row["key"], parts, code, row["key"] in done))
    return known


def _value(value: Any, pool: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return pool[value["$"]] if isinstance(value, dict) else value


def read_history(store: Store, study: str) -> list[Known]:
    """Stages of earlier runs, those of the same study first.

    Args:
        store: where the manifests lie.
        study: name of the study that is planned.
    """
    runs = store.runs()
    ours = [run for run in runs if study_in(run) == slug(study)]
    others = [run for run in runs if run not in ours]
    return [known for run in [*ours, *others][:MOST_RUNS] for known in _stages_of(store, run)]


def slug(study: str) -> str:
    """The name of a study as run ids spell it."""
    name = "".join(letter if letter.isalnum() else "-" for letter in study.lower())
    return name.strip("-")[:80] or "study"


def study_in(run: str) -> str:
    """The name of the study in the id of a run."""
    return run.rpartition("-")[0]


def _stages_of(store: Store, run: str) -> list[Known]:
    entries = store.read_run(run)
    plans = [entry["plan"] for entry in entries if entry.get("plan")]
    if not plans:
        return []
    made = {key for entry in entries for key in entry.get("executed", {})}
    if any(entry.get("event") == "finished" for entry in entries):
        made |= {row["key"] for row in plans[-1]["stages"]}
    return [replace(known, study=study_in(run)) for known in unpack(plans[-1], made)]
