"""The part of Zarr v3 that a store uses: its metadata written by hand, its reading an allow-list.

We write the few lines of metadata ourselves, so that bytes do not change with the version of the
zarr library, and read nothing else than what we write: no v2, no other codec, no object dtype.
Any Zarr v3 reader opens the result; tests hold that for zarr and xarray.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.store.codec import ITEM_BYTES, MAX_AXES
from tomopt_tasks.store.errors import Damage
from tomopt_tasks.store.formats import canonical, parse_json
from tomopt_tasks.store.zstd import LEVEL

MAX_CHUNK_BYTES = 2**30
MAX_ARRAY_BYTES = 2**42
ARRAY_FIELDS = frozenset(
    {
        "attributes",
        "chunk_grid",
        "chunk_key_encoding",
        "codecs",
        "data_type",
        "dimension_names",
        "fill_value",
        "node_type",
        "shape",
        "storage_transformers",
        "zarr_format",
    }
)
ZSTD = {"name": "zstd", "configuration": {"level": LEVEL, "checksum": True}}
KEY_ENCODING = {"name": "default", "configuration": {"separator": "."}}


@dataclass(frozen=True, slots=True)
class ArrayMeta:
    """What ``zarr.json`` of an array says."""

    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dims: tuple[str, ...]
    compressed: bool
    attributes: dict[str, Any]

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one chunk, not compressed."""
        return math.prod(self.chunks) * ITEM_BYTES[self.dtype]

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array, not compressed."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of chunks along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunks, strict=True))


def chunk_name(index: Sequence[int]) -> str:
    """Name of a chunk below its array, such as ``c.0.3``."""
    return ".".join(["c", *map(str, index)])


def group_json(attributes: dict[str, Any]) -> bytes:
    """``zarr.json`` of a group."""
    return canonical({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def array_json(meta: ArrayMeta) -> bytes:
    """``zarr.json`` of an array."""
    to_bytes: dict[str, Any] = {"name": "bytes"}
    if ITEM_BYTES[meta.dtype] > 1:
        to_bytes["configuration"] = {"endian": "little"}
    return canonical(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": meta.shape,
            "data_type": meta.dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": meta.chunks}},
            "chunk_key_encoding": KEY_ENCODING,
            "fill_value": _fill(meta.dtype),
            "codecs": [to_bytes, ZSTD] if meta.compressed else [to_bytes],
            "dimension_names": meta.dims,
            "attributes": meta.attributes,
        }
    )


def _fill(dtype: str) -> object:
    if dtype == "bool":
        return False
    if dtype.startswith("complex"):
        return [0.0, 0.0]
    return 0.0 if dtype.startswith("float") else 0


def parse_group(raw: bytes) -> dict[str, Any]:
    """Attributes of a group.

    Raises:
        Damage: not the metadata of a Zarr v3 group.
    """
    found = parse_json(raw)
    if not isinstance(found, dict) or found.get("zarr_format") != 3:
        msg = "its root is not Zarr format 3"
        raise Damage(msg)
    attributes = found.get("attributes")
    if found.get("node_type") != "group" or not isinstance(attributes, dict):
        msg = "its root is not a Zarr group with attributes"
        raise Damage(msg)
    return attributes


def parse_array(raw: bytes, name: str) -> ArrayMeta:
    """Metadata of an array, if it is one of those that a store writes.

    Raises:
        Damage: another format, codec, dtype or extension, or a shape beyond the bounds.
    """
    found = parse_json(raw)
    if not isinstance(found, dict) or found.get("zarr_format") != 3:
        msg = f"array {name!r} is not Zarr format 3"
        raise Damage(msg)
    extra = set(found) - ARRAY_FIELDS
    if extra or found.get("node_type") != "array" or found.get("storage_transformers"):
        msg = f"array {name!r} has metadata that a store never writes ({sorted(extra)})"
        raise Damage(msg)
    dtype = found.get("data_type")
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        msg = f"array {name!r} has data type {dtype!r}; allowed are {', '.join(ITEM_BYTES)}"
        raise Damage(msg)
    if found.get("chunk_key_encoding") != KEY_ENCODING:
        msg = f"array {name!r} has chunk names that a store never writes"
        raise Damage(msg)
    meta = ArrayMeta(
        dtype=dtype,
        shape=_extents(found.get("shape"), name, lowest=0),
        chunks=_extents(_chunk_shape(found.get("chunk_grid")), name, lowest=1),
        dims=_dims(found.get("dimension_names"), name),
        compressed=_compressed(found.get("codecs"), dtype, name),
        attributes=_mapping(found.get("attributes", {}), name),
    )
    _check_bounds(meta, name)
    return meta


def _chunk_shape(grid: object) -> object:
    if not isinstance(grid, dict) or grid.get("name") != "regular":
        return None
    configuration = grid.get("configuration")
    return configuration.get("chunk_shape") if isinstance(configuration, dict) else None


def _extents(values: object, name: str, lowest: int) -> tuple[int, ...]:
    if (
        not isinstance(values, list)
        or len(values) > MAX_AXES
        or any(type(n) is not int or not lowest <= n < 2**62 for n in values)
    ):
        msg = f"array {name!r} has a malformed shape or chunk shape"
        raise Damage(msg)
    return tuple(values)


def _dims(values: object, name: str) -> tuple[str, ...]:
    if not isinstance(values, list) or any(not isinstance(dim, str) for dim in values):
        msg = f"array {name!r} has no dimension names"
        raise Damage(msg)
    return tuple(values)


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        msg = f"array {name!r} has malformed attributes"
        raise Damage(msg)
    return value


def _compressed(codecs: object, dtype: str, name: str) -> bool:
    plain: dict[str, Any] = {"name": "bytes"}
    if ITEM_BYTES[dtype] > 1:
        plain["configuration"] = {"endian": "little"}
    if codecs == [plain]:
        return False
    if codecs == [plain, ZSTD]:
        return True
    msg = f"array {name!r} asks for codecs {codecs!r}; a store reads only 'bytes' and 'zstd'"
    raise Damage(msg)


def _check_bounds(meta: ArrayMeta, name: str) -> None:
    if not len(meta.shape) == len(meta.chunks) == len(meta.dims):
        msg = f"array {name!r} has shape, chunks and dimension names of unequal length"
        raise Damage(msg)
    if meta.chunk_bytes > MAX_CHUNK_BYTES or meta.nbytes > MAX_ARRAY_BYTES:
        msg = (
            f"array {name!r} claims shape {meta.shape} in chunks {meta.chunks}, beyond the bounds "
            f"({MAX_ARRAY_BYTES} bytes, {MAX_CHUNK_BYTES} a chunk)"
        )
        raise Damage(msg)
