"""Look at everything that a store holds, and say what is not as it was committed.

Nothing is changed or set aside, so that a store that may only be read can be looked at too. The
quick look reads every record, manifest, tombstone and entry, and the sizes of the data; the deep
one reads, digests and unpacks every chunk as well.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tomopt_tasks.core import UserError
from tomopt_tasks.store import collect, datasets, pins, records, runs
from tomopt_tasks.store.backend import Backend
from tomopt_tasks.store.errors import Damage, DamagedObject, NewerFormat
from tomopt_tasks.store.refs import (
    KEY,
    MANIFEST_SUFFIX,
    RECORD_SUFFIX,
    TOMBSTONE_SUFFIX,
    base_path,
)
from tomopt_tasks.store.verify import Verifier


@dataclass(frozen=True, slots=True)
class Looked:
    """One thing that was looked at."""

    kind: str
    """Kind of an object; "runs" for an entry of a run."""
    path: str
    nbytes: int
    problem: str = ""
    """What is wrong; empty: it is as it was committed."""


def audit(backend: Backend, *, deep: bool = False) -> Iterator[Looked]:
    """Everything in a store, one by one: memory does not grow with the store.

    Args:
        backend: where the store lies.
        deep: read the data of datasets too.
    """
    for kind in collect.kinds(backend):
        for part in backend.children(kind):
            for name in backend.children(f"{kind}/{part}"):
                yield from _object(backend, kind, name, deep=deep)
    for run in runs.run_ids(backend):
        yield from _run(backend, run)
    for name in backend.children(pins.PINS):
        path = f"{pins.PINS}/{name}"
        problem, stat = pins.problem(backend, path), backend.stat(path)
        yield Looked(pins.PINS, path, stat.size if stat and not problem else 0, problem)


def _object(backend: Backend, kind: str, name: str, *, deep: bool) -> Iterator[Looked]:
    key = name.partition(".")[0]
    if not KEY.fullmatch(key):
        return
    look = {
        key + RECORD_SUFFIX: _record,
        key + TOMBSTONE_SUFFIX: _tombstone,
        key + MANIFEST_SUFFIX: _dataset,
    }.get(name)
    if look is not None:
        path = base_path(kind, key) + name.removeprefix(key)
        yield _looked(kind, path, lambda: look(backend, path, (kind, key), deep))


def _looked(kind: str, path: str, look: Callable[[], int]) -> Looked:
    try:
        return Looked(kind, path, look())
    except (Damage, NewerFormat, DamagedObject) as problem:
        return Looked(kind, path, 0, str(problem))


def _record(backend: Backend, path: str, name: tuple[str, str], deep: bool) -> int:  # noqa: FBT001
    data = _bytes(backend, path, records.MAX_RECORD_BYTES)
    records.peek(data, *name)
    if deep:
        records.outline(data)
    return len(data)


def _tombstone(backend: Backend, path: str, name: tuple[str, str], deep: bool) -> int:  # noqa: ARG001, FBT001
    data = _bytes(backend, path, datasets.MAX_MANIFEST_BYTES)
    collect.read_tombstone(data, *name)
    return len(data)


def _dataset(backend: Backend, path: str, name: tuple[str, str], deep: bool) -> int:  # noqa: FBT001
    manifest = datasets.read_manifest(_bytes(backend, path, datasets.MAX_MANIFEST_BYTES), *name)
    stats = backend.listing(manifest.prefix)
    for each, (size, _) in manifest.objects.items():
        found = stats.get(f"{manifest.prefix}/{each}")
        if found is None or found.size != size:
            what = "missing" if found is None else f"{found.size} bytes instead of {size}"
            msg = f"{manifest.prefix}/{each} is {what}"
            raise Damage(msg)
    if deep:
        opened = datasets.Dataset(backend.url, Verifier(backend), manifest, _raise)
        for array in opened.names:
            for _ in opened.each_chunk(array):
                pass
    return manifest.ref.nbytes


def _run(backend: Backend, run: str) -> Iterator[Looked]:
    """The entries of a run, and those that are missing between them."""
    there = runs.numbers(backend, run)
    for number in range(there[-1] + 1 if there else 0):
        path = runs.entry_path(run, number)
        if number in there:
            yield _looked(runs.RUNS, path, partial(_entry, backend, run, number))
        else:
            yield Looked(runs.RUNS, path, 0, f"{path} is missing")


def _entry(backend: Backend, run: str, number: int) -> int:
    data = _bytes(backend, runs.entry_path(run, number), runs.MAX_ENTRY_BYTES)
    runs.read_entry(data, run, number)
    return len(data)


def _raise(damage: Damage) -> DamagedObject:
    return DamagedObject(str(damage))


def _bytes(backend: Backend, path: str, limit: int) -> bytes:
    blob = backend.get(path, limit)
    if blob is None:
        raise UserError(f"{backend.url}/{path} has just been removed; look again")
    return blob.data
