"""``tomopt invalidate``: throw results away, so that the next run makes them again."""

from tomopt_tasks.commands.answer import Answer, size
from tomopt_tasks.commands.target import newest, of_run, planned
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.planning.select import select
from tomopt_tasks.runs.manifest import now
from tomopt_tasks.store.store import Store


def invalidate(store: Store, words: str, of: str | None = None) -> Answer:
    """Delete the results of some stages of a study; what is made of them stays.

    The next run makes them again. If they come out with other bytes, it warns, and makes again
    whatever hangs on them.

    Args:
        store: where they are.
        words: stages, see `select`.
        of: study file or run; None: the newest run of the store.
    """
    target = of_run(store, newest(store)) if of is None else planned(store, of)
    chosen = select(target.stages, words)
    gone = []
    for stage in chosen:
        kind = KINDS[stage.name]
        ref = store.find(kind, stage.key) or store.tombstone(kind, stage.key)
        if ref is not None:
            store.forget(kind, stage.key)
            gone.append({"label": stage.label, "kind": kind, "key": stage.key, "bytes": ref.nbytes})
    if gone and target.entries:
        keys = [each["key"] for each in gone]
        store.append_run(target.run, {"event": "invalidated", "at": now(), "invalidated": keys})
    lines = [f"{each['label']}  {each['kind']} {str(each['key'])[:12]}" for each in gone]
    total = sum(int(str(each["bytes"])) for each in gone)
    verdict = f"{len(gone)} of {len(chosen)} results of {target.run} thrown away, {size(total)}"
    return Answer({"run": target.run, "invalidated": gone}, [*lines, verdict])
