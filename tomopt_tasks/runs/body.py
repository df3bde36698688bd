"""Run one stage: the one door to the stage bodies, with or without Prefect."""

import importlib
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, TypedDict

from tomopt_tasks.caching.device import COMPILE, DEVICE, compiled
from tomopt_tasks.caching.keys import numerics
from tomopt_tasks.core import Config, UserError
from tomopt_tasks.planning import inputs
from tomopt_tasks.planning.plan import KINDS, Stage
from tomopt_tasks.runs.machine import machine, same_bits, settle
from tomopt_tasks.runs.manifest import maker_of
from tomopt_tasks.store.errors import KeyCollision
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

log = logging.getLogger(__name__)

Body = Callable[[Store, str, Any, Mapping[str, Ref]], Ref]

INPUTS: dict[str, type[Config]] = {
    "make_volumes": inputs.VolumesInputs,
    "transport_muons": inputs.BankInputs,
    "start_fit": inputs.StartInputs,
    "try_start": inputs.TryInputs,
    "fit_epoch": inputs.EpochInputs,
    "train_model": inputs.TrainInputs,
    "predict": inputs.PredictInputs,
    "evaluate": inputs.EvaluateInputs,
}

executed: list[str] = []
"""Keys of the bodies that ran in this process, in order: runs count their own share of it."""

seconds: dict[str, float] = {}
"""Key -> time of a body that ran in this process [s], without imports and servers."""


class Work(TypedDict):
    """A stage as plain JSON, so that any worker can run it."""

    store: str
    name: str
    label: str
    key: str
    inputs: dict[str, Any]
    parents: dict[str, dict[str, Any]]
    numerics: dict[str, Any]
    """What the key says of them."""


def work_of(stage: Stage, store: Store, refs: Mapping[str, Ref]) -> Work:
    """The work of a stage whose parents are in ``refs``, by key."""
    parents = {role: refs[key].model_dump(mode="json") for role, key in stage.parents.items()}
    return {
        "store": store.url,
        "name": stage.name,
        "label": stage.label,
        "key": stage.key,
        "inputs": stage.inputs.model_dump(mode="json"),  # whole: a key leaves names of files out
        "parents": parents,
        "numerics": dict(stage.components["numerics"]),
    }


def perform(work: Work) -> dict[str, Any]:
    """Run the body of a stage, unless its result is committed; the ref as JSON.

    Args:
        work: see ``Work``.

    Raises:
        UserError: this process computes in another way than its key says.
    """
    store = _store(work["store"])
    ref = store.find(KINDS[work["name"]], work["key"])
    if ref is None:
        _check_numerics(work)
        settings = INPUTS[work["name"]].model_validate(work["inputs"])
        parents = {role: Ref.model_validate(parent) for role, parent in work["parents"].items()}
        body = bodies()[work["name"]]
        executed.append(work["key"])
        begun = time.perf_counter()
        try:
            with _kernels():
                ref = body(store, work["key"], settings, parents)
        except KeyCollision as collision:
            ref = _first(store, collision)
        seconds[work["key"]] = time.perf_counter() - begun
    return ref.model_dump(mode="json")


def _check_numerics(work: Work) -> None:
    here, asked = numerics().model_dump(mode="json"), work["numerics"]
    decided_here = ("torch", "device", "compiled")
    others = [name for name in decided_here if here[name] != asked[name]]
    if others:
        got, wanted = (", ".join(f"{n} {of[n]}" for n in others) for of in (here, asked))
        raise UserError(
            f"{work['label']}: this worker computes with {got}, but the key is of {wanted}; start "
            f"it with the same torch, {DEVICE} and {COMPILE} as the process that plans the run"
        )


def _kernels() -> AbstractContextManager[None]:
    """Kernels run as the keys say."""
    from tomopt_tasks import kernels  # noqa: PLC0415 - brings torch along

    return kernels.compiling(on=compiled())


def _first(store: Store, collision: KeyCollision) -> Ref:
    """Another process was first, with other bytes: its result stays if its machine was another.

    Raises:
        KeyCollision: the machines are alike, so that something is missing from the key.
    """
    maker = maker_of(store, collision.key, collision.kept)
    kept = store.find(collision.kind, collision.key)
    if kept is None or maker is None or same_bits(maker, machine()):
        raise collision
    log.warning(
        "%s %s was made by %s (%s threads, %s) with other bytes than here; the first result stays",
        collision.kind, collision.key[:12], maker.get("name"), maker.get("threads"),
        maker.get("vectors"),
    )  # fmt: skip
    return kept


def bodies() -> Mapping[str, Body]:
    """Name -> function; imported when a stage really runs, because it brings torch along."""
    settle()
    found: Mapping[str, Body] = importlib.import_module("tomopt_tasks.stages").BODIES
    return found


@cache
def _store(url: str) -> Store:
    return open_store(url)
