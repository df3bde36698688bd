"""Datasets: a plain Zarr v3 tree under a private prefix, named by a sealed manifest.

The manifest is the only commit point: it lists every object of the tree with size and sha256, and
the digest of the content (arrays and attributes, not compressed). Readers resolve manifests only.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.store import chunks
from tomopt_tasks.store.errors import Damage, DamagedObject
from tomopt_tasks.store.formats import check_header, unseal
from tomopt_tasks.store.refs import Ref, base_path
from tomopt_tasks.store.verify import Entry, Verifier
from tomopt_tasks.store.zarr3 import (
    ArrayMeta,
    chunk_name,
    parse_array,
    parse_group,
)
from tomopt_tasks.store.zstd import decompress_into

ATTEMPT = re.compile(r"[0-9a-f]{32}")
OBJECT = re.compile(r"zarr\.json|[A-Za-z][A-Za-z0-9_]{0,63}/(zarr\.json|c(\.[0-9]{1,10})*)")
MAX_OBJECTS = 5_000_000
MAX_MANIFEST_BYTES = 2**30
MAX_OBJECT_BYTES = 2**31

OnDamage = Callable[[Damage], DamagedObject]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a manifest says, checked."""

    ref: Ref
    prefix: str
    objects: dict[str, Entry]


def read_manifest(raw: bytes, kind: str, key: str) -> Manifest:
    """A checked manifest.

    Raises:
        Damage: any bit differs, it belongs to another key, or it names paths outside its prefix.
        NewerFormat: intact, but of a newer major version.
    """
    body = unseal(raw, "manifest", f"{kind} {key[:12]}")
    if (body.get("kind"), body.get("key")) != (kind, key):
        msg = f"it is {body.get('kind')} {str(body.get('key'))[:12]}, put under another name"
        raise Damage(msg)
    attempt, listed = body.get("attempt"), body.get("objects")
    if not isinstance(attempt, str) or not ATTEMPT.fullmatch(attempt):
        msg = f"its attempt {attempt!r} is not a plain name"
        raise Damage(msg)
    if not isinstance(listed, dict) or len(listed) > MAX_OBJECTS:
        msg = "it lists no objects, or too many"
        raise Damage(msg)
    objects = {name: _entry(name, entry) for name, entry in listed.items()}
    try:
        ref = Ref(
            kind=kind,
            key=key,
            sha256=body["content"],
            nbytes=sum(size for size, _ in objects.values()),
            metrics=body["metrics"],
        )
    except (KeyError, ValueError) as error:
        msg = "its content digest or its metrics are malformed"
        raise Damage(msg) from error
    return Manifest(ref, f"{base_path(kind, key)}/{attempt}", objects)


def _entry(name: str, entry: object) -> Entry:
    match entry:
        case [int(size), str(sha256)] if OBJECT.fullmatch(name) and 0 <= size < MAX_OBJECT_BYTES:
            return size, sha256
    msg = f"it lists an object {name!r} that a store never writes"
    raise Damage(msg)


class Dataset:
    """A committed dataset, read lazily; each chunk is verified when it is first read.

    `url` is where xarray opens the same data: ``xarray.open_zarr(url, consolidated=False)``.
    """

    def __init__(
        self, url: str, verifier: Verifier, manifest: Manifest, on_damage: OnDamage
    ) -> None:
        """Read and check the metadata of all arrays.

        Args:
            url: of the store.
            verifier: reads objects and checks their digests.
            manifest: what was committed.
            on_damage: called where a chunk turns out to be damaged; gives the error to raise.

        Raises:
            Damage: metadata missing, altered, or beyond what a store writes.
        """
        self.ref = manifest.ref
        self.url = f"{url}/{manifest.prefix}"
        self._manifest = manifest
        self._verifier = verifier
        self._on_damage = on_damage
        self.attrs = self._root()
        self._metas = {name: self._meta(name) for name in self._array_names()}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, sorted."""
        return tuple(self._metas)

    def info(self, name: str) -> ArrayMeta:
        """Dtype, shape, dims and attributes of an array."""
        if name not in self._metas:
            msg = f"{self.ref.kind} has no array {name!r}; it has {', '.join(self._metas)}"
            raise UserError(msg)
        return self._metas[name]

    def array(self, name: str) -> np.ndarray:
        """A whole array, newly allocated."""
        return self.rows(name, slice(None))

    def rows(self, name: str, rows: slice, within: slice | None = None) -> np.ndarray:
        """Part of an array along its axis 'volume', else its first; all axes are kept.

        Args:
            name: of the array.
            rows: along that axis.
            within: along the axis after it; None: all.

        Raises:
            DamagedObject: a chunk is not what was committed.
        """
        meta = self.info(name)
        if not meta.shape:
            return self._chunk(name, meta, ())
        axis = chunks.row_axis(meta.dims)
        asked = {axis: rows} if within is None else {axis: rows, axis + 1: within}
        spans, steps, shape = {}, {}, list(meta.shape)
        for a, part in asked.items():
            start, stop, steps[a] = part.indices(meta.shape[a])
            if steps[a] < 1:
                msg = f"rows of {name!r} with step {steps[a]}; use a positive step"
                raise UserError(msg)
            spans[a] = start, max(start, stop)
            shape[a] = spans[a][1] - start
        out = np.empty(shape, dtype=np.dtype(meta.dtype).newbyteorder("<"))
        for index in chunks.touched(meta, spans):
            chunks.paste(out, self._chunk(name, meta, index), index, spans)
        return out[tuple(slice(None, None, steps.get(a, 1)) for a in range(out.ndim))]

    def each_chunk(self, name: str) -> Iterator[np.ndarray]:
        """Every chunk of an array, one after the other, padded at the edges."""
        meta = self.info(name)
        for index in chunks.indices(meta):
            yield self._chunk(name, meta, index)

    def _object(self, name: str) -> bytes:
        entry = self._manifest.objects.get(name)
        if entry is None:
            msg = f"its manifest lists no {name}"
            raise Damage(msg)
        return self._verifier.read(f"{self._manifest.prefix}/{name}", entry)

    def _root(self) -> dict[str, Any]:
        attributes = parse_group(self._object("zarr.json"))
        found = attributes.pop("store", None)
        check_header(found, "dataset", f"{self.ref.kind} {self.ref.key[:12]}")
        return attributes

    def _array_names(self) -> list[str]:
        return sorted({name.partition("/")[0] for name in self._manifest.objects if "/" in name})

    def _meta(self, name: str) -> ArrayMeta:
        meta = parse_array(self._object(f"{name}/zarr.json"), name)
        listed = sum(1 for other in self._manifest.objects if other.startswith(f"{name}/")) - 1
        if math.prod(meta.grid) != listed or not meta.compressed:
            msg = f"array {name!r} claims {math.prod(meta.grid)} chunks, its manifest {listed}"
            raise Damage(msg)
        return meta

    def _chunk(self, name: str, meta: ArrayMeta, index: chunks.Index) -> np.ndarray:
        try:
            return self._decoded(name, meta, index)
        except Damage as damage:
            raise self._on_damage(damage) from damage

    def _decoded(self, name: str, meta: ArrayMeta, index: chunks.Index) -> np.ndarray:
        raw = self._object(f"{name}/{chunk_name(index)}")
        out = np.empty(meta.chunks, dtype=np.dtype(meta.dtype).newbyteorder("<"))
        decompress_into(raw, out)
        return out
