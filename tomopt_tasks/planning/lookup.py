"""Which stages of a plan are stored, and why the others would run.

The store alone decides: a stage is a hit if its object verifies, byte by byte. Every stage of a
study is looked up, not only the last ones, and whatever is lost or damaged is made again: so a
study that has run is complete in the store, and one lost object costs one stage. A stage that runs
reads its direct parents only; those are hits or were just made. So an extended fit starts from the
last checkpoint that verifies.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomopt_tasks.caching.closure import code_parts
from tomopt_tasks.caching.syntax import DATA
from tomopt_tasks.planning.history import Known, read_history, slug
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.store.opening import MARK, open_store
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

MOST_CHANGES = 3
"""Changes that a reason spells out; another study with more of them is not near."""

NEW = "new"


@dataclass(frozen=True)
class Step:
    """A stage, its stored result if there is one, and else why it runs."""

    stage: Stage
    ref: Ref | None
    reason: str = ""


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


def look_up(stages: Sequence[Stage], store: Store | None, study: str) -> list[Step]:
    """Look for every stage; explain those that are missing.

    Args:
        stages: a plan.
        store: where to look; None: nothing is stored yet.
        study: name of the study.
    """
    if store is None:
        return [Step(stage, None, NEW) for stage in stages]
    refs: dict[str, Ref] = {}
    for stage in stages:
        ref = stopped(stage, refs) or store.find(stage.kind, stage.key)
        if ref is not None:
            refs[stage.key] = ref
    if len(refs) == len(stages):
        return [Step(stage, refs[stage.key]) for stage in stages]
    reasons = explain([stage for stage in stages if stage.key not in refs], stages, store, study)
    return [Step(each, refs.get(each.key), reasons.get(each.key, "")) for each in stages]


def explain(
    missing: Sequence[Stage], stages: Sequence[Stage], store: Store, study: str
) -> dict[str, str]:
    """Key -> why the stage has no stored result, by comparison with the nearest that has one."""
    history = read_history(store, study)
    stored = {kind: set(store.keys(kind)) for kind in {stage.kind for stage in missing}}
    labels = {stage.key: stage.label for stage in stages}
    reasons = {}
    for stage in missing:
        same = [each for each in history if (each.name, each.label) == (stage.name, stage.label)]
        if any(each.key == stage.key for each in same):
            lost = any(each.key == stage.key and each.made for each in same)
            reasons[stage.key] = "lost or damaged" if lost else "not reached by an earlier run"
            continue
        near = [
            changes
            for each in same
            if each.key in stored[stage.kind]
            for changes in [_changes(stage, each, labels)]
            if each.study == slug(study) or len(changes) <= MOST_CHANGES
        ]
        reasons[stage.key] = _sentence(min(near, key=len)) if near else NEW
    return reasons


def _changes(stage: Stage, known: Known, labels: Mapping[str, str]) -> list[str]:
    """What differs from a stored stage; what only follows from changed parents comes last."""
    now, then = stage.components, known.components
    changes = []
    if now["code"] != then["code"]:
        changes.append(f"code: {', '.join(_files(code_parts(stage.name), known.modules))}")
    for part in ("inputs", "numerics", "schema"):
        old, new = dict(_leaves(then[part], "")), dict(_leaves(now[part], ""))
        for path in sorted(old.keys() | new.keys()):
            if old.get(path) != new.get(path):
                name = path.lstrip(".") or part
                changes.append(f"{name}: {_short(old.get(path))} -> {_short(new.get(path))}")
    roles = now["parents"].keys() | then["parents"].keys()
    parents = [role for role in roles if now["parents"].get(role) != then["parents"].get(role)]
    if parents and not changes:
        known_parents = [stage.parents[role] for role in sorted(parents) if role in stage.parents]
        changes.append(f"follows {', '.join(dict.fromkeys(labels[key] for key in known_parents))}")
    return changes


def _files(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    changed = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    return ["data files" if name == DATA else f"{name.replace('.', '/')}.py" for name in changed]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(item, f"{path}.{name}")
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _short(value: Any) -> str:  # noqa: ANN401
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _sentence(changes: Sequence[str]) -> str:
    more = len(changes) - MOST_CHANGES
    return "; ".join(changes[:MOST_CHANGES]) + (f"; and {more} more" if more > 0 else "")
