"""Run one stage: the one door to the stage bodies, with or without Prefect."""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypedDict

from tomopt_tasks.core import Config
from tomopt_tasks.planning import inputs
from tomopt_tasks.planning.plan import KINDS, Stage
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

Body = Callable[[Store, str, Any, Mapping[str, Ref]], Ref]

INPUTS: dict[str, type[Config]] = {
    "make_volumes": inputs.VolumesInputs,
    "transport_muons": inputs.BankInputs,
    "start_fit": inputs.StartInputs,
    "fit_epoch": inputs.EpochInputs,
    "predict": inputs.PredictInputs,
    "evaluate": inputs.EvaluateInputs,
}

executed: list[str] = []
"""Keys of the bodies that ran in this process, in order: runs count their own share of it."""


class Work(TypedDict):
    """A stage as plain JSON, so that any worker can run it."""

    store: str
    name: str
    label: str
    key: str
    inputs: dict[str, Any]
    parents: dict[str, dict[str, Any]]


def work_of(stage: Stage, store: Store, refs: Mapping[str, Ref]) -> Work:
    """The work of a stage whose parents are in ``refs``, by key."""
    parents = {role: refs[key].model_dump(mode="json") for role, key in stage.parents.items()}
    return {
        "store": store.url,
        "name": stage.name,
        "label": stage.label,
        "key": stage.key,
        "inputs": stage.components["inputs"],
        "parents": parents,
    }


def perform(work: Work) -> dict[str, Any]:
    """Run the body of a stage, unless its result is committed; the ref as JSON.

    Args:
        work: see ``Work``.
    """
    store = _store(work["store"])
    ref = store.find(KINDS[work["name"]], work["key"])
    if ref is None:
        settings = INPUTS[work["name"]].model_validate(work["inputs"])
        parents = {role: Ref.model_validate(parent) for role, parent in work["parents"].items()}
        body = bodies()[work["name"]]
        executed.append(work["key"])
        ref = body(store, work["key"], settings, parents)
    return ref.model_dump(mode="json")


def bodies() -> Mapping[str, Body]:
    """Name -> function; imported when a stage really runs, because it brings torch along."""
    found: Mapping[str, Body] = importlib.import_module("tomopt_tasks.stages").BODIES
    return found


@cache
def _store(url: str) -> Store:
    return open_store(url)
