"""Stored results of older code, taken where nothing but the code sets them apart.

An accepted result keeps the key that it was made under, so what is computed from it gets a key of
its own: the store never holds anything under a key that does not say how it was made. Which stages
were accepted, and which files have changed since, travels with the plan into the manifest and into
every table.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tomopt_tasks.caching.keys import stage_key
from tomopt_tasks.planning.history import History, Known
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.planning.reasons import files
from tomopt_tasks.store.store import Store


def accept(stages: Sequence[Stage], store: Store, history: History) -> list[Stage]:
    """The same plan with results of older code in the place of stages that have none.

    Args:
        stages: a plan, as the present code makes it.
        store: where results lie.
        history: what earlier runs made there.
    """
    stored = {kind: set(store.keys(kind)) for kind in {stage.kind for stage in stages}}
    known: dict[str, Known] = {}
    for each in reversed(history.stages):  # the newest run has the last word
        known[_without_code(each.components)] = each
    taken: list[Stage] = []
    keys: dict[str, str] = {}
    for stage in stages:
        parents = {role: keys[key] for role, key in stage.parents.items()}
        parts = {**stage.components, "parents": dict(sorted(parents.items()))}
        found = replace(stage, parents=parents, components=parts, key=stage_key(parts))
        older = known.get(_without_code(parts))
        if found.key not in stored[stage.kind] and older and older.key in stored[stage.kind]:
            parts = {**parts, "code": older.components["code"]}
            found = replace(found, components=parts, key=older.key, older=older.modules)
        keys[stage.key] = found.key
        taken.append(found)
    return taken


def accepted(stages: Sequence[Stage]) -> dict[str, list[str]]:
    """Label -> files that have changed since, of the stages whose stored result is of older code.

    What is made from such a result is not listed: see `descendants`.
    """
    return {stage.label: files(stage) for stage in stages if stage.older}


def descendants(parents: Mapping[str, Collection[str]], roots: Collection[str]) -> set[str]:
    """Keys of the stages that hang on some of ``roots``, these included.

    Args:
        parents: key -> keys of its parents, in an order in which stages can run.
        roots: keys.
    """
    reached = set(roots)
    for key, above in parents.items():
        if reached.intersection(above):
            reached.add(key)
    return reached


def _without_code(components: Mapping[str, Any]) -> str:
    return stage_key({**components, "code": ""})
