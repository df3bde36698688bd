"""What killed writers left behind, and objects that are given up but not forgotten."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tomopt_tasks.core import UserError
from tomopt_tasks.store import datasets
from tomopt_tasks.store.backend import DAMAGED, TMP, Backend
from tomopt_tasks.store.errors import Damage
from tomopt_tasks.store.formats import seal, unseal
from tomopt_tasks.store.refs import (
    KEY,
    KIND,
    RESERVED_KINDS,
    TOMBSTONE_SUFFIX,
    Ref,
    base_path,
    manifest_path,
    record_path,
)

log = logging.getLogger(__name__)

DAY = 24 * 3600.0
"""Shorter than this, and a slow writer might still be at work [s]."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Something that no ref can ever lead to."""

    path: str
    nbytes: int
    why: str


def kinds(backend: Backend) -> list[str]:
    """Sorted kinds that have a folder."""
    names = backend.children("")
    return [name for name in names if KIND.fullmatch(name) and name not in RESERVED_KINDS]


def collect(backend: Backend, older_than: float = DAY, *, dry_run: bool = True) -> list[Garbage]:
    """Find, and unless ``dry_run`` remove, leftovers whose newest file is old enough.

    Args:
        backend: where the store lies.
        older_than: age [s]; at least an hour, because younger ones may belong to a live writer.
        dry_run: only tell.
    """
    if older_than < 3600:
        msg = (
            f"gc of leftovers younger than {older_than:g} s; wait at least 3600 s, writers are slow"
        )
        raise UserError(msg)
    before = time.time() - older_than
    garbage = [*_single_files(backend, before), *_attempts(backend, before)]
    for item in garbage if not dry_run else []:
        if item.path.endswith("/"):
            backend.delete_prefix(item.path.rstrip("/"))
        else:
            backend.delete(item.path)
    return garbage


def retire(backend: Backend, ref: Ref) -> None:
    """Delete an object but keep its ref, so that curves can still be drawn from its metrics."""
    base = base_path(ref.kind, ref.key)
    data = seal("tombstone", {"ref": ref.model_dump(mode="json")})
    if tombstone(backend, ref.kind, ref.key) != ref:  # an older one may be of other content
        backend.delete(base + TOMBSTONE_SUFFIX)
        backend.put_if_absent(base + TOMBSTONE_SUFFIX, data)
    _remove(backend, ref.kind, ref.key)


def forget(backend: Backend, kind: str, key: str) -> None:
    """Delete an object and its tombstone: as if it had never been made."""
    backend.delete(base_path(kind, key) + TOMBSTONE_SUFFIX)
    _remove(backend, kind, key)


def _remove(backend: Backend, kind: str, key: str) -> None:
    backend.delete(record_path(kind, key))
    backend.delete(manifest_path(kind, key))  # before its data: nobody sees half of it
    backend.delete_prefix(base_path(kind, key))


def tombstone(backend: Backend, kind: str, key: str) -> Ref | None:
    """The ref of a retired object, or None."""
    blob = backend.get(base_path(kind, key) + TOMBSTONE_SUFFIX, datasets.MAX_MANIFEST_BYTES)
    if blob is None:
        return None
    try:
        return read_tombstone(blob.data, kind, key)
    except Damage as damage:
        log.warning("the tombstone of %s %s is not believed: %s", kind, key[:12], damage)
        return None


def read_tombstone(raw: bytes, kind: str, key: str) -> Ref:
    """The ref that a tombstone keeps.

    Raises:
        Damage: it is altered, or that of another object.
        NewerFormat: intact, but of a newer major version.
    """
    body = unseal(raw, "tombstone", f"{kind} {key[:12]}")
    try:
        ref = Ref.model_validate(body.get("ref"))
    except ValueError as error:
        msg = "it holds no ref"
        raise Damage(msg) from error
    if (ref.kind, ref.key) != (kind, key):
        msg = f"it is that of {ref.kind} {ref.key[:12]}, put under another name"
        raise Damage(msg)
    return ref


def retired(backend: Backend, kind: str) -> set[str]:
    """Keys of which a tombstone is left."""
    parts = (part for part in backend.children(kind) if len(part) == 2)
    names = (name for part in parts for name in backend.children(f"{kind}/{part}"))
    return {
        name.removesuffix(TOMBSTONE_SUFFIX) for name in names if name.endswith(TOMBSTONE_SUFFIX)
    }


def _single_files(backend: Backend, before: float) -> Iterator[Garbage]:
    whys = {TMP: "a writer was killed before it published", DAMAGED: "it was set aside as damaged"}
    for folder, why in whys.items():
        for path, stat in backend.listing(folder).items():
            if stat.modified < before:
                yield Garbage(path, stat.size, why)


def _attempts(backend: Backend, before: float) -> Iterator[Garbage]:
    for kind in kinds(backend):
        for part in backend.children(kind):
            for key in backend.children(f"{kind}/{part}"):
                if KEY.fullmatch(key):
                    yield from _attempts_of(backend, kind, key, before)


def _attempts_of(backend: Backend, kind: str, key: str, before: float) -> Iterator[Garbage]:
    base = base_path(kind, key)
    attempts = [name for name in backend.children(base) if datasets.ATTEMPT.fullmatch(name)]
    named = _named(backend, kind, key)
    for attempt in attempts:
        stats = backend.listing(f"{base}/{attempt}").values()
        if attempt != named and stats and max(stat.modified for stat in stats) < before:
            size = sum(stat.size for stat in stats)
            yield Garbage(f"{base}/{attempt}/", size, "no manifest names this attempt")


def _named(backend: Backend, kind: str, key: str) -> str | None:
    """The attempt that the manifest names; an unreadable manifest names none."""
    blob = backend.get(manifest_path(kind, key), datasets.MAX_MANIFEST_BYTES)
    if blob is None:
        return None
    try:
        return datasets.read_manifest(blob.data, kind, key).prefix.rpartition("/")[2]
    except Damage:
        return None
