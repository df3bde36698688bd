"""Which stages of a plan are stored, and why the others would run.

The store alone decides: a stage is a hit if its object verifies, byte by byte. Every stage of a
study is looked up, not only the last ones, and whatever is lost or damaged is made again: so a
study that has run is complete in the store, and one lost object costs one stage. A stage that runs
reads its direct parents only; those are hits or were just made. So an extended fit starts from the
last checkpoint that verifies.

What was given up on purpose (``tomopt gc``) has left a tombstone with its metrics, and is made
again only if a stage that runs reads it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tomopt_tasks.planning.history import History
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.planning.reasons import explain, files, listed
from tomopt_tasks.store.opening import MARK, open_store
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

NEW = "new"
FORCED = "forced"


@dataclass(frozen=True)
class Step:
    """A stage, its stored result if there is one, and else why it runs."""

    stage: Stage
    ref: Ref | None
    reason: str = ""
    """Why it runs; for a result of older code: which files have changed since."""
    retired: bool = False
    """Only the ref is left of the result; nothing that runs reads it."""


def existing_store(url: str) -> Store | None:
    """The store, if there is one: a plan makes none."""
    if "://" not in url and not (Path(url).expanduser() / MARK).exists():
        return None
    return open_store(url, create=False)


def stopped(stage: Stage, refs: Mapping[str, Ref]) -> Ref | None:
    """The last checkpoint, if the fit stopped early before this epoch."""
    parent = refs.get(stage.parents.get("checkpoint", ""))
    if stage.name == "fit_epoch" and parent is not None and parent.metrics.get("stopped"):
        return parent
    return None


def look_up(
    stages: Sequence[Stage],
    store: Store | None,
    study: str,
    *,
    history: History | None = None,
    forced: Collection[str] = (),
) -> list[Step]:
    """Look for every stage; explain those that are missing.

    Args:
        stages: a plan.
        store: where to look; None: nothing is stored yet.
        study: name of the study.
        history: of the store, if it is there already.
        forced: keys of stages that run whatever is stored.
    """
    if store is None:
        return [Step(stage, None, NEW) for stage in stages]
    refs, retired = _found([stage for stage in stages if stage.key not in forced], store)
    for stage in reversed(stages):  # a stage that runs needs its parents
        if stage.key not in refs and stage.key not in retired:
            for parent in stage.parents.values():
                retired.pop(parent, None)
    missing = [stage for stage in stages if stage.key not in refs and stage.key not in retired]
    reasons = explain(missing, stages, store, history or History(store, study)) | dict.fromkeys(
        forced, FORCED
    )
    return [
        Step(
            each,
            refs.get(each.key) or retired.get(each.key),
            reasons.get(each.key) or _older(each),
            retired=each.key in retired,
        )
        for each in stages
    ]


def _found(stages: Sequence[Stage], store: Store) -> tuple[dict[str, Ref], dict[str, Ref]]:
    """Key -> ref of what is stored, and of what has left a tombstone."""
    refs: dict[str, Ref] = {}
    retired: dict[str, Ref] = {}
    for stage in stages:
        ref = stopped(stage, refs) or store.find(stage.kind, stage.key)
        if ref is not None:
            refs[stage.key] = ref
        elif gone := stopped(stage, retired) or store.tombstone(stage.kind, stage.key):
            retired[stage.key] = gone
    return refs, retired


def _older(stage: Stage) -> str:
    return f"made by older code: {listed(files(stage))}" if stage.older else ""
