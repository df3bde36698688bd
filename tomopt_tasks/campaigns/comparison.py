"""The stage that compares the members of a table; stored and keyed like the stages of a study."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tomopt_tasks.caching.closure import package_sources
from tomopt_tasks.caching.keys import components, numerics, stage_key
from tomopt_tasks.campaigns.tables import Table
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

KIND = "comparison"
"""Kind of the stored result."""

NAME = "compare_members"
"""Name of the stage."""


def comparison_key(table: Table) -> str:
    """Where the comparison of a table lies: a digest of how it is judged, of what, by which code.

    Args:
        table: which designs, and the keys of their predictions.
    """
    return stage_key(components(NAME, table.inputs, table.parents, _code(), numerics()))


def find_comparison(table: Table, store: Store) -> Ref | None:
    """The stored comparison, if there is one."""
    return store.find(KIND, comparison_key(table))


def have_comparison(table: Table, store: Store, refs: Mapping[str, Ref]) -> Ref:
    """The comparison of a table, from the store or made now.

    Args:
        table: which designs.
        store: where their predictions are.
        refs: key -> ref of every prediction of the table.
    """
    found = find_comparison(table, store)
    if found is not None:
        return found
    from tomopt_tasks.campaigns.bodies import compare_members  # noqa: PLC0415 - brings torch along

    parents = {role: refs[key] for role, key in table.parents.items()}
    return compare_members(store, comparison_key(table), table.inputs, parents)


def read_comparison(ref: Ref, store: Store) -> dict[str, Any]:
    """The record of a comparison; see ``evaluation.compare``."""
    record: dict[str, Any] = store.get_record(ref)
    return record


@cache
def _code() -> str:
    return package_sources().digest("tomopt_tasks.campaigns.bodies", NAME)
