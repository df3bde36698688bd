"""The store: put, get and find objects by kind and key; append to runs."""

import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tomopt_tasks.store import audit, collect, datasets, pins, records, runs, writing
from tomopt_tasks.store.arrays import ArraySpec
from tomopt_tasks.store.audit import Looked
from tomopt_tasks.store.backend import DAMAGED, Backend, Stat
from tomopt_tasks.store.collect import Garbage
from tomopt_tasks.store.datasets import Dataset, Manifest
from tomopt_tasks.store.errors import Damage, DamagedObject, KeyCollision, StoreUnavailable
from tomopt_tasks.store.formats import jsonable, seal
from tomopt_tasks.store.refs import Ref, base_path, check_name, manifest_path, record_path
from tomopt_tasks.store.verify import Verifier, check_same, lost
from tomopt_tasks.store.writing import Content, Draft, Tree

COMMITTED = re.compile(r"([0-9a-f]{64})(\.zarr\.zip|\.json)")

log = logging.getLogger(__name__)


class Store:
    """Immutable objects under ``<kind>/<key[:2]>/<key>``; made by `open_store`."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.url = backend.url
        self._verifier = Verifier(backend)
        self._records: dict[str, tuple[Stat, Ref]] = {}
        self._manifests: dict[str, tuple[Stat, Manifest]] = {}

    # ------------------------------------------------------------------ records

    def put_record(
        self,
        kind: str,
        key: str,
        tree: object,
        metrics: Mapping[str, object] | None = None,
        views: Mapping[str, ArraySpec] | None = None,
    ) -> Ref:
        """Commit a tree of state (see `codec`) under a key.

        Args:
            kind: what it is, a lower-case word.
            key: 64 lower-case hex digits.
            tree: dicts, lists, tuples, numbers, strings, None and torch tensors.
            metrics: small JSON values that come back with the ref; NaN and infinity become None.
            views: arrays for people with xarray; not read back.

        Raises:
            KeyCollision: the key holds other bytes.
            UserError: the tree holds something else, or the store cannot be written.
        """
        check_name(kind, key)
        ref, data = records.build((kind, key), tree, _metrics(metrics), views or {})
        path = record_path(kind, key)
        self._publish(path, data, ref, lambda: self._find_record(kind, key))
        return ref

    def get_record(self, ref: Ref) -> Any:  # noqa: ANN401
        """The tree of a record, bit by bit as it was put; tensors on the CPU.

        Raises:
            DamagedObject: it is lost or altered; it was set aside, so that it can be made again.
        """
        return self._read(ref, records.unpack)

    def _read(self, ref: Ref, unpack: Callable[[bytes], Any]) -> Any:  # noqa: ANN401
        path = record_path(ref.kind, ref.key)
        blob = self.backend.get(path, records.MAX_RECORD_BYTES)
        if blob is None:
            raise lost(ref)
        try:
            found = records.peek(blob.data, ref.kind, ref.key)
            tree = unpack(blob.data) if found.sha256 == ref.sha256 else None
        except Damage as damage:
            raise self._set_aside(path, blob.stat, damage) from damage
        check_same(ref, found)
        return tree

    # ----------------------------------------------------------------- datasets

    def put_dataset(
        self,
        kind: str,
        key: str,
        arrays: Mapping[str, ArraySpec],
        attrs: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
    ) -> Ref:
        """Commit named arrays under a key, as a Zarr v3 tree that xarray opens.

        Raises:
            KeyCollision: the key holds other content.
            UserError: arrays that xarray would not open, or the store cannot be written.
        """
        check_name(kind, key)
        content = writing.prepare((kind, key), arrays, attrs or {}, _metrics(metrics))
        found = self._find_dataset(kind, key)
        if found is not None:
            if found.sha256 != content.sha256:
                raise KeyCollision(kind, key, found.sha256, content.sha256)
            return found
        with self.draft(kind, key) as draft:
            return self._commit(content, draft.tree)

    @contextmanager
    def draft(self, kind: str, key: str) -> Iterator[Draft]:
        """A dataset to be written part by part; what is not committed inside is thrown away."""
        check_name(kind, key)
        tree = Tree(self.backend, f"{base_path(kind, key)}/{uuid.uuid4().hex}")
        try:
            yield Draft(tree, (kind, key))
        finally:
            if not tree.published:
                self._discard(tree.prefix)

    def commit(
        self,
        draft: Draft,
        arrays: Mapping[str, ArraySpec],
        attrs: Mapping[str, object],
        metrics: Mapping[str, object],
    ) -> Ref:
        """Commit a draft, with the arrays that were not written part by part; see `put_dataset`."""
        content = writing.prepare(draft.name, arrays, attrs, _metrics(metrics), draft.written)
        return self._commit(content, draft.tree)

    def open_dataset(self, ref: Ref) -> Dataset:
        """A dataset for reading.

        Raises:
            DamagedObject: it is lost or altered; it was set aside, so that it can be made again.
        """
        path = manifest_path(ref.kind, ref.key)
        blob = self.backend.get(path, datasets.MAX_MANIFEST_BYTES)
        if blob is None:
            raise lost(ref)
        try:
            manifest = datasets.read_manifest(blob.data, ref.kind, ref.key)
            opened = self._open(manifest, blob.stat)
        except Damage as damage:
            raise self._set_aside(path, blob.stat, damage) from damage
        check_same(ref, manifest.ref)
        return opened

    # --------------------------------------------------------------------- find

    def find(self, kind: str, key: str) -> Ref | None:
        """The ref of a committed object whose every byte was verified, or None.

        A damaged object is set aside into ``.damaged/`` with a warning, so that the stage that
        made it can run again. What was verified once is trusted until its stamp changes.

        Raises:
            NewerFormat: it is intact but of a newer major version.
        """
        check_name(kind, key)
        return self._find_record(kind, key) or self._find_dataset(kind, key)

    def keys(self, kind: str) -> list[str]:
        """Sorted keys with a committed object of this kind (not verified)."""
        check_name(kind, "0" * 64)
        names = (n for part in self.backend.children(kind) for n in self._names(kind, part))
        return sorted({match[1] for name in names if (match := COMMITTED.fullmatch(name))})

    # --------------------------------------------------------------------- runs

    def append_run(self, run_id: str, entry: Mapping[str, object]) -> int:
        """Append one JSON entry to a run; its sequence number."""
        return runs.append(self.backend, run_id, entry)

    def read_run(self, run_id: str) -> list[dict[str, Any]]:
        """The entries of a run in order; empty if there is no such run."""
        return runs.read(self.backend, run_id)

    def runs(self) -> list[str]:
        """Sorted ids of all runs."""
        return runs.run_ids(self.backend)

    def recent_runs(self) -> list[str]:
        """Ids of all runs, the one with the latest entry first."""
        return runs.recent(self.backend)

    # ------------------------------------------------------------------ upkeep

    def kinds(self) -> list[str]:
        """Sorted kinds of which there is or was an object."""
        return collect.kinds(self.backend)

    def outline(self, ref: Ref) -> Any:  # noqa: ANN401
        """The tree of a record with a `TensorShape` for each tensor; torch is not imported.

        Raises:
            DamagedObject: it is lost or altered; it was set aside, so that it can be made again.
        """
        return self._read(ref, records.outline)

    def modified(self, ref: Ref) -> float | None:
        """When an object was committed, in seconds since the epoch; None if it is not there."""
        for path in (record_path(ref.kind, ref.key), manifest_path(ref.kind, ref.key)):
            stat = self.backend.stat(path)
            if stat is not None:
                return stat.modified
        return None

    def audit(self, *, deep: bool = False) -> Iterator[Looked]:
        """Look at everything and change nothing; ``deep`` reads the data of datasets too."""
        return audit.audit(self.backend, deep=deep)

    def pin(self, kind: str, key: str, *, keep: bool = True) -> None:
        """Let no clean-up give an object up; ``keep=False`` takes that back."""
        (pins.pin if keep else pins.unpin)(self.backend, kind, key)

    def pinned(self) -> set[tuple[str, str]]:
        """Kind and key of all pinned objects."""
        return pins.pinned(self.backend)

    def forget(self, kind: str, key: str) -> None:
        """Delete an object and its tombstone, so that the stage that made it runs again."""
        collect.forget(self.backend, kind, key)

    def retire(self, ref: Ref) -> None:
        """Delete an object but keep its ref as a tombstone, for the curves."""
        collect.retire(self.backend, ref)

    def retired(self, kind: str) -> set[str]:
        """Keys of which a tombstone is left; some may have been made again since."""
        return collect.retired(self.backend, kind)

    def tombstone(self, kind: str, key: str) -> Ref | None:
        """The ref of a retired object, or None."""
        return collect.tombstone(self.backend, kind, key)

    def gc(self, older_than: float = collect.DAY, *, dry_run: bool = True) -> list[Garbage]:
        """Leftovers of killed writers, older than some seconds; removed if not ``dry_run``."""
        return collect.collect(self.backend, older_than, dry_run=dry_run)

    # ------------------------------------------------------------------ private

    def _names(self, kind: str, part: str) -> list[str]:
        return self.backend.children(f"{kind}/{part}") if len(part) == 2 else []

    def _commit(self, content: Content, tree: Tree) -> Ref:
        """Write what is left below a private prefix, then publish the manifest that names it."""
        kind, key = content.kind, content.key
        tree.write(content)
        data = seal("manifest", writing.manifest_body(content, tree))
        ref = datasets.read_manifest(data, kind, key).ref
        path = manifest_path(kind, key)
        tree.published = True  # a failure may come after the manifest became visible: keep it
        try:
            won = self._publish(path, data, ref, lambda: self._find_dataset(kind, key))
        except KeyCollision:
            tree.published = False
            raise
        tree.published = won is ref
        return won

    def _find_record(self, kind: str, key: str) -> Ref | None:
        path = record_path(kind, key)
        known = self._records.get(path)
        if known is not None and self.backend.stat(path) == known[0]:
            return known[1]
        blob = self.backend.get(path, records.MAX_RECORD_BYTES)
        if blob is None:
            return None
        try:
            ref = records.peek(blob.data, kind, key)
        except Damage as damage:
            self._set_aside(path, blob.stat, damage)
            return None
        if blob.stat.settled():
            self._records[path] = (blob.stat, ref)
        return ref

    def _find_dataset(self, kind: str, key: str) -> Ref | None:
        path = manifest_path(kind, key)
        stat, manifest = self._manifests.get(path, (None, None))
        now = self.backend.stat(path)
        if now is None:
            return None
        try:
            if manifest is None or stat != now:
                blob = self.backend.get(path, datasets.MAX_MANIFEST_BYTES)
                manifest = datasets.read_manifest(blob.data if blob else b"", kind, key)
                self._open(manifest, now)
            self._check_objects(manifest)
        except Damage as damage:
            self._set_aside(path, now, damage)
            return None
        if now.settled():
            self._manifests[path] = (now, manifest)
        return manifest.ref

    def _open(self, manifest: Manifest, stat: Stat) -> Dataset:
        path = manifest_path(manifest.ref.kind, manifest.ref.key)
        return Dataset(
            self.url, self._verifier, manifest, lambda damage: self._set_aside(path, stat, damage)
        )

    def _check_objects(self, manifest: Manifest) -> None:
        stats = self.backend.listing(manifest.prefix)
        for name, entry in manifest.objects.items():
            path = f"{manifest.prefix}/{name}"
            self._verifier.check(path, entry, stats.get(path))

    def _publish(self, path: str, data: bytes, ref: Ref, find: Callable[[], Ref | None]) -> Ref:
        """Commit ``data``; where the path is taken, accept equal content and refuse other."""
        for _ in range(3):
            if self.backend.put_if_absent(path, data):
                return ref
            found = find()  # sets a damaged object aside, so that the next round can publish
            if found is not None:
                if found.sha256 != ref.sha256:
                    raise KeyCollision(ref.kind, ref.key, found.sha256, ref.sha256)
                return found
        msg = f"{self.url}/{path} is damaged and cannot be replaced; delete it and run again"
        raise StoreUnavailable(msg)

    def _discard(self, prefix: str) -> None:
        """Remove an attempt that nobody will name; what cannot be removed is left to gc."""
        try:
            self.backend.delete_prefix(prefix)
        except StoreUnavailable as error:
            log.warning("left an unfinished attempt behind (gc will remove it): %s", error)

    def _set_aside(self, path: str, stat: Stat, damage: Damage) -> DamagedObject:
        name = path.rpartition("/")[2]
        target = f"{DAMAGED}/{path.partition('/')[0]}/{uuid.uuid4().hex[:8]}-{name}"
        said = f"{self.url}/{path} is damaged: {damage}"
        try:
            if self.backend.stat(path) == stat:
                self.backend.move(path, target)
                said += f"; it was set aside as {target}"
            said += "; run again to make it anew"
        except StoreUnavailable as error:
            said += f"; it could not be set aside ({error})"
        log.warning("%s", said)
        return DamagedObject(said)


def _metrics(metrics: Mapping[str, object] | None) -> dict[str, Any]:
    return {name: jsonable(value, f"metrics.{name}") for name, value in (metrics or {}).items()}
