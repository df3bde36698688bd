"""Writing datasets: whole arrays at once, or long ones part by part, in the memory of one part."""

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.store import chunks
from tomopt_tasks.store.arrays import ArraySpec, attributes_of, check_arrays, plain
from tomopt_tasks.store.backend import Backend
from tomopt_tasks.store.formats import canonical, digest, header, jsonable
from tomopt_tasks.store.verify import Entry
from tomopt_tasks.store.zarr3 import ArrayMeta, array_json, chunk_name, group_json
from tomopt_tasks.store.zstd import compress


@dataclass(frozen=True, slots=True)
class Content:
    """Arrays and attributes ready to be written, with their digest."""

    kind: str
    key: str
    arrays: dict[str, tuple[ArrayMeta, np.ndarray]]
    attrs: dict[str, Any]
    metrics: dict[str, Any]
    sha256: str


@dataclass(frozen=True, slots=True)
class Written:
    """An array whose chunks are written already."""

    spec: ArraySpec
    meta: ArrayMeta
    bits: str
    """Digest of its bits."""


def meta_of(spec: ArraySpec, name: str) -> ArrayMeta:
    """Metadata of an array, with the chunks that it is cut into."""
    dtype = np.asarray(spec.data).dtype
    shape = np.shape(spec.data)
    cut = chunks.chunk_shape(shape, spec.dims, dtype.itemsize)
    described = attributes_of(spec, name)
    return ArrayMeta(dtype.name, shape, cut, spec.dims, compressed=True, attributes=described)


def listing(meta: ArrayMeta, bits: str) -> list[object]:
    """What the digest of the content knows of an array."""
    return [meta.dtype, meta.shape, meta.dims, meta.attributes, bits]


def prepare(
    name: tuple[str, str],
    arrays: Mapping[str, ArraySpec],
    attrs: Mapping[str, object],
    metrics: dict[str, Any],
    written: Mapping[str, "Written"] | None = None,
) -> Content:
    """Check the arrays, choose chunks and take the digest of the content.

    Args:
        name: kind and key.
        arrays: what is still to be written.
        attrs: attributes of the group.
        metrics: what comes back with the ref.
        written: arrays of the same dataset that were written part by part.
    """
    written = written or {}
    check_arrays({**arrays, **{array: each.spec for array, each in written.items()}})
    if "store" in attrs:
        msg = "dataset attribute 'store' is reserved; use another name"
        raise UserError(msg)
    planned: dict[str, tuple[ArrayMeta, np.ndarray]] = {}
    listed: dict[str, object] = {
        array: listing(each.meta, each.bits) for array, each in written.items()
    }
    for array, spec in sorted(arrays.items()):
        data = plain(spec, array)
        meta = meta_of(spec, array)
        planned[array] = (meta, data)
        listed[array] = listing(meta, digest(data.reshape(-1).view(np.uint8).data))
    clean = {key: jsonable(value, f"attrs.{key}") for key, value in attrs.items()}
    total = digest(canonical({"arrays": listed, "attrs": clean, "metrics": metrics}))
    return Content(*name, planned, clean, metrics, total)


class Tree:
    """The objects of one attempt below its private prefix, with sizes and digests.

    Args:
        backend: where they go.
        prefix: of the attempt.
    """

    def __init__(self, backend: Backend, prefix: str) -> None:
        self.backend = backend
        self.prefix = prefix
        self.objects: dict[str, Entry] = {}
        self.published = False
        """Whether a manifest names them, or may name them."""

    def put(self, name: str, data: bytes) -> None:
        """Write one object."""
        self.backend.write(f"{self.prefix}/{name}", data)
        self.objects[name] = (len(data), digest(data))

    def write(self, content: Content) -> None:
        """Write all that a content holds, and make sure that it lasts."""
        about = header("dataset", kind=content.kind, key=content.key)
        self.put("zarr.json", group_json({**content.attrs, "store": about}))
        for name, (meta, data) in content.arrays.items():
            self.put(f"{name}/zarr.json", array_json(meta))
            for index in chunks.indices(meta):
                self.put(f"{name}/{chunk_name(index)}", compress(chunks.cut(data, meta, index)))
        self.backend.flush(self.prefix)


def manifest_body(content: Content, tree: Tree) -> dict[str, Any]:
    """Body of the manifest that commits what a tree holds."""
    return {
        "kind": content.kind,
        "key": content.key,
        "attempt": tree.prefix.rpartition("/")[2],
        "content": content.sha256,
        "metrics": content.metrics,
        "objects": tree.objects,
    }


class Draft:
    """A dataset whose long arrays come part by part; nothing is seen of it before it is committed.

    Args:
        tree: where its objects go.
        name: kind and key.
    """

    def __init__(self, tree: Tree, name: tuple[str, str]) -> None:
        self.tree = tree
        self.name = name
        self.written: dict[str, Written] = {}

    def put_rows(self, name: str, spec: ArraySpec, parts: Iterable[np.ndarray]) -> None:
        """Write an array as its parts are made.

        Args:
            name: of the array.
            spec: what it is; of its data only shape and dtype count, see ``ArraySpec.promised``.
            parts: consecutive rows along the axis that chunks split.

        Raises:
            ValueError: the axes before that one are longer than one, a part is of another dtype or
                shape, or the parts are not as many rows as said.
        """
        meta = meta_of(spec, name)
        axis = chunks.row_axis(meta.dims)
        if math.prod(meta.shape[:axis]) != 1:
            msg = f"array {name!r} of shape {meta.shape}: rows come in order for one entry before"
            raise ValueError(msg)
        self.tree.put(f"{name}/zarr.json", array_json(meta))
        bits, n_rows = hashlib.sha256(), 0
        for number, rows in enumerate(_by_chunk(_checked(parts, meta, axis), meta, axis)):
            bits.update(rows.reshape(-1).view(np.uint8).data)
            n_rows += rows.shape[axis]
            index = tuple(number if a == axis else 0 for a in range(len(meta.shape)))
            data = np.zeros(meta.chunks, dtype=rows.dtype)
            data[(slice(None),) * axis + (slice(0, rows.shape[axis]),)] = rows
            self.tree.put(f"{name}/{chunk_name(index)}", compress(data.tobytes()))
        if n_rows != meta.shape[axis]:
            msg = f"array {name!r}: {n_rows} rows came, but {meta.shape[axis]} were promised"
            raise ValueError(msg)
        self.written[name] = Written(spec, meta, bits.hexdigest())


def _checked(parts: Iterable[np.ndarray], meta: ArrayMeta, axis: int) -> Iterator[np.ndarray]:
    for part in parts:
        shape = (*part.shape[:axis], meta.shape[axis], *part.shape[axis + 1 :])
        if shape != meta.shape or part.dtype != np.dtype(meta.dtype):
            msg = (
                f"a part of shape {part.shape} ({part.dtype}) is none of {meta.shape} {meta.dtype}"
            )
            raise ValueError(msg)
        yield part.astype(part.dtype.newbyteorder("<"), order="C", copy=False)


def _by_chunk(parts: Iterable[np.ndarray], meta: ArrayMeta, axis: int) -> Iterator[np.ndarray]:
    """The same rows in the lengths of chunks; the last may be shorter."""
    size, held, n_held = meta.chunks[axis], [], 0
    for part in parts:
        start = 0
        while start < part.shape[axis]:
            stop = min(part.shape[axis], start + size - n_held)
            held.append(part[(slice(None),) * axis + (slice(start, stop),)])
            n_held, start = n_held + stop - start, stop
            if n_held == size:
                yield np.ascontiguousarray(np.concatenate(held, axis))
                held, n_held = [], 0
    if held:
        yield np.ascontiguousarray(np.concatenate(held, axis))
