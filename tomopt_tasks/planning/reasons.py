"""Why a stage has no stored result: what sets it apart from the nearest one that has."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tomopt_tasks.caching.closure import code_parts
from tomopt_tasks.caching.syntax import DATA
from tomopt_tasks.planning.history import History, Known, slug
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.store.store import Store

MOST_CHANGES = 3
"""Changes that a reason spells out; another study with more of them is not near."""

MOST_COMPARED = 5
"""Stored results that a missing one is compared with."""

MOST_FILES = 4
"""Files that a reason names."""

NEW = "new"
LOST = "lost or damaged"
CODE = "code: "
"""Start of a reason: the files whose change it is."""
FOLLOWS = "follows "
"""Start of a reason: the stages that it lies with."""
HINT = (
    "code has changed: stored results stay, under keys of their own; --accept-code-changes takes "
    "those that nothing else sets apart, and every table marks them"
)
DATA_FILES = "data files"


def explain(
    missing: Sequence[Stage], stages: Sequence[Stage], store: Store, history: History
) -> dict[str, str]:
    """Key -> why the stage has no stored result, by comparison with the nearest that has one.

    Args:
        missing: stages without a result.
        stages: the plan that they belong to.
        store: where results lie.
        history: what earlier runs made there.
    """
    if not missing:
        return {}
    stored = {kind: set(store.keys(kind)) for kind in {stage.kind for stage in missing}}
    labels = {stage.key: stage.label for stage in stages}
    return {stage.key: _reason(stage, history, stored[stage.kind], labels) for stage in missing}


def _reason(stage: Stage, history: History, stored: set[str], labels: Mapping[str, str]) -> str:
    same = history.like(stage)
    known = [each for each in same if each.key == stage.key]
    if any(each.invalidated for each in known):
        return "invalidated"
    if known:
        lost = any(each.made for each in known)
        return LOST if lost else "not reached by an earlier run"
    compared = [each for each in same if each.key in stored][:MOST_COMPARED]
    near = [
        changes
        for each in compared
        for changes in [changed(stage, each, labels)]
        if each.study == slug(history.study) or len(changes) <= MOST_CHANGES
    ]
    return _sentence(min(near, key=len)) if near else NEW


def changed(stage: Stage, known: Known, labels: Mapping[str, str]) -> list[str]:
    """What differs from a known stage; what only follows from changed parents comes last.

    Args:
        stage: a planned stage.
        known: the one that it is compared with.
        labels: key -> label of the stages of the plan.
    """
    now, then = stage.components, known.components
    changes = []
    if now["code"] != then["code"]:
        changes.append(f"{CODE}{listed(_files(code_parts(stage.name), known.modules))}")
    for part in ("inputs", "numerics", "schema"):
        for path, old, new in differences(then[part], now[part]):
            changes.append(f"{path or part}: {short(old)} -> {short(new)}")
    roles = now["parents"].keys() | then["parents"].keys()
    parents = [role for role in roles if now["parents"].get(role) != then["parents"].get(role)]
    if parents and not changes:
        known_parents = [stage.parents[role] for role in sorted(parents) if role in stage.parents]
        changes.append(f"{FOLLOWS}{', '.join(dict.fromkeys(labels[key] for key in known_parents))}")
    return changes


def files(stage: Stage) -> list[str]:
    """The files that have changed since an accepted result was made."""
    return _files(code_parts(stage.name), stage.older)


def differences(old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401
    """Places of two trees that differ, sorted, each with both values (None where there is none)."""
    if old == new:
        return
    before, after = dict(leaves(old)), dict(leaves(new))
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path):
            yield path, before.get(path), after.get(path)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """Places in a tree of JSON, such as ``fit.phases[0].epochs``, with what is there."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def short(value: Any) -> str:  # noqa: ANN401
    """A value in at most 40 characters."""
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _files(now: Mapping[str, str], then: Mapping[str, str]) -> list[str]:
    names = sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))
    return [DATA_FILES if name == DATA else f"{name.replace('.', '/')}.py" for name in names]


def listed(names: Sequence[str]) -> str:
    """Names in a line, the first few of many."""
    more = len(names) - MOST_FILES
    return ", ".join(names[:MOST_FILES]) + (f" and {more} more" if more > 0 else "")


def _sentence(changes: Sequence[str]) -> str:
    more = len(changes) - MOST_CHANGES
    return "; ".join(changes[:MOST_CHANGES]) + (f"; and {more} more" if more > 0 else "")
