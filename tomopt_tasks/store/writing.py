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
            parts: consecutive rows along the axis 'volume', else the first; or, of rows that are
                longer than a chunk, consecutive stretches of one row after the other.

        Raises:
            ValueError: the axes before that one are longer than one, a part is of another dtype or
                shape, or the parts are not as many as said.
        """
        meta = meta_of(spec, name)
        row, axis = chunks.row_axis(meta.dims), chunks.cut_axis(meta)
        if math.prod(meta.shape[:row]) != 1:
            msg = f"array {name!r} of shape {meta.shape}: rows come in order for one entry before"
            raise ValueError(msg)
        self.tree.put(f"{name}/zarr.json", array_json(meta))
        promised = math.prod(meta.shape[: axis + 1])
        bits, n_steps = hashlib.sha256(), 0
        stretches = (one for part in parts for one in _stretches(part, meta, row, axis))
        for number, steps in enumerate(_by_chunk(stretches, meta, axis)):
            n_steps += steps.shape[axis]
            if n_steps > promised:
                break
            bits.update(steps.reshape(-1).view(np.uint8).data)
            place = dict(zip((row, axis), divmod(number, meta.grid[axis]), strict=True))
            index = tuple(place.get(a, 0) for a in range(len(meta.shape)))
            data = np.zeros(meta.chunks, dtype=steps.dtype)
            data[(slice(None),) * axis + (slice(0, steps.shape[axis]),)] = steps
            self.tree.put(f"{name}/{chunk_name(index)}", compress(data.tobytes()))
        if n_steps != promised:
            msg = (
                f"array {name!r}: {n_steps} steps along {meta.dims[axis]!r} came, but {promised} "
                "were promised"
            )
            raise ValueError(msg)
        self.written[name] = Written(spec, meta, bits.hexdigest())


def _stretches(part: np.ndarray, meta: ArrayMeta, row: int, axis: int) -> Iterator[np.ndarray]:
    """A part in C order and little-endian: whole, or row by row if rows are cut themselves."""
    shape = list(part.shape)
    for cut in {row, axis}:
        shape[cut] = meta.shape[cut]
    if tuple(shape) != meta.shape or part.dtype != np.dtype(meta.dtype):
        msg = f"a part of shape {part.shape} ({part.dtype}) is none of {meta.shape} {meta.dtype}"
        raise ValueError(msg)
    plain = part.astype(part.dtype.newbyteorder("<"), order="C", copy=False)
    if row == axis:
        yield plain
        return
    if part.size and part.shape[row] > 1 and part.shape[axis] != meta.shape[axis]:
        msg = f"a part of shape {part.shape} holds stretches of several rows; give one of each"
        raise ValueError(msg)
    for k in range(part.shape[row]):
        yield plain[(slice(None),) * row + (slice(k, k + 1),)]


def _by_chunk(parts: Iterable[np.ndarray], meta: ArrayMeta, axis: int) -> Iterator[np.ndarray]:
    """The same steps in the lengths of chunks; the last along the axis may be shorter."""
    held: list[np.ndarray] = []
    n_held, done, whole = 0, 0, max(1, meta.shape[axis])
    for part in parts:
        start, length = 0, part.shape[axis]
        while start < length:
            wanted = min(meta.chunks[axis] - n_held, whole - done)
            stop = min(length, start + wanted)
            held.append(part[(slice(None),) * axis + (slice(start, stop),)])
            n_held, start, taken = n_held + stop - start, stop, stop - start
            done = (done + taken) % whole
            if taken == wanted:
                yield np.ascontiguousarray(np.concatenate(held, axis))
                held, n_held = [], 0
    if held:
        yield np.ascontiguousarray(np.concatenate(held, axis))
