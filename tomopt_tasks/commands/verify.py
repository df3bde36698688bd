"""``tomopt verify``: is everything in the store as it was committed?"""

from tomopt_tasks.commands.answer import Answer, size
from tomopt_tasks.reports.text import columns
from tomopt_tasks.store.store import Store


def verify(store: Store, *, deep: bool = False) -> Answer:
    """Look at every object and every entry; nothing is changed. Exit code 1 if some is damaged.

    Args:
        store: the store.
        deep: read, digest and unpack the data of datasets too.
    """
    counts: dict[str, list[int]] = {}
    damaged = []
    for seen in store.audit(deep=deep):
        count = counts.setdefault(seen.kind, [0, 0, 0])
        count[0] += 1
        count[1] += seen.nbytes
        if seen.problem:
            count[2] += 1
            damaged.append({"kind": seen.kind, "path": seen.path, "problem": seen.problem})
    rows = [
        {"kind": kind, "objects": str(n), "size": size(nbytes), "damaged": str(bad)}
        for kind, (n, nbytes, bad) in sorted(counts.items())
    ]
    total = sum(count[0] for count in counts.values())
    how = "every byte was read" if deep else "sizes and records were checked; --deep reads all"
    verdict = f"{total - len(damaged)} of {total} are as they were committed ({how})"
    said = [f"{each['path']}: {each['problem']}" for each in damaged]
    cure = ["run the studies again: what is damaged is set aside and made anew"] if damaged else []
    data = {
        "store": store.url,
        "deep": deep,
        "objects": total,
        "kinds": {kind: dict(zip(("objects", "bytes", "damaged"), count, strict=True))
                  for kind, count in sorted(counts.items())},
        "damaged": damaged,
    }  # fmt: skip
    lines = [*columns(rows), "", *said, verdict, *cure]
    return Answer(data, lines, code=1 if damaged else 0)
