"""Keep a store small and whole: give up what nobody needs, and check what is there."""

from typing import Annotated

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow
from pydantic import Field

from flows.chores import chore
from flows.endings import HOOKS, stoppable
from tomopt_tasks.commands import gc as give_up
from tomopt_tasks.commands import verify as check
from tomopt_tasks.core import Config, UserError
from tomopt_tasks.project import default_store
from tomopt_tasks.store.opening import open_store

AGAIN = "Nothing was left half done; run it again."
SHOWN = 1000
"""Rows of a table on a page at most."""


class Keep(Config):
    """What to keep of each fit, and of each study."""

    last: Annotated[int, Field(ge=1, le=100_000)] = 3
    """Newest checkpoints."""
    best: Annotated[int, Field(ge=0, le=100_000)] = 1
    """Checkpoints with the lowest loss."""
    every: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Every m-th checkpoint; 0: none for this reason."""
    runs: Annotated[int, Field(ge=0, le=100_000)] = 0
    """Newest runs of each study; 0: all runs."""
    hours: Annotated[float, Field(ge=24, le=1e6)] = 24.0
    """Only what is older goes [h]."""


KEEP = Keep()


@flow(name="gc", flow_run_name="gc", **HOOKS)
def gc(keep: Keep = KEEP, *, apply: bool = False, store: str | None = None) -> int:
    """Give up checkpoints that nothing needs, and leftovers of kills; the bytes that go.

    Args:
        keep: what stays.
        apply: delete; else it is only told.
        store: folder of the results; default: data/store.
    """
    results = open_store(store or default_store(), create=False)
    policy = give_up.Policy(keep.last, keep.best, keep.every, keep.runs, keep.hours)
    facts = {"store": results.url, "apply": "yes" if apply else "no"}
    with stoppable(), chore("gc", "gc", facts, AGAIN) as told:
        answer = give_up.gc(results, policy, apply=apply)
        told.page.text("\n".join(answer.lines), "summary")
        rows = [*answer.data["given_up"], *answer.data["leftovers"]]
        if rows:
            names = dict.fromkeys(name for row in rows for name in row)
            table = [{n: row.get(n, "") for n in names} for row in rows[:SHOWN]]
            told.page.table(table, "given up")
        told.words = answer.lines[-1]
        told.numbers = {"bytes": answer.data["bytes"], "apply": apply}
    return int(answer.data["bytes"])


@flow(name="verify", flow_run_name="verify", **HOOKS)
def verify(*, deep: bool = False, store: str | None = None) -> int:
    """Check that everything is as it was committed; how many objects were checked.

    Args:
        deep: read, digest and unpack all data too.
        store: folder of the results; default: data/store.

    Raises:
        UserError: something is damaged; the page lists it.
    """
    results = open_store(store or default_store(), create=False)
    facts = {"store": results.url, "deep": "yes" if deep else "no"}
    with stoppable(), chore("verify", "verify", facts, AGAIN) as told:
        answer = check.verify(results, deep=deep)
        told.page.text("\n".join(answer.lines), "summary")
        damaged = answer.data["damaged"]
        if damaged:
            told.page.table(damaged[:SHOWN], "damaged")
            raise UserError(
                f"{len(damaged)} of {answer.data['objects']} objects in {results.url} are damaged; "
                "run their studies again: what is damaged is set aside and made anew"
            )
        told.words = f"{answer.data['objects']} objects are as they were committed"
        told.numbers = {"objects": answer.data["objects"]}
    return int(answer.data["objects"])


if __name__ == "__main__":
    verify()
