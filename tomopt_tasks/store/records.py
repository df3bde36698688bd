"""A record: one Zarr v3 group in one ZIP, built in memory, with its digest in the ZIP comment.

The bytes are a function of the content alone: entries sorted and stored uncompressed, dates fixed,
metadata canonical. The comment holds the sha256 of all bytes before it, so that finding a record
costs one read, one hash and one small JSON.

The group holds ``skeleton`` (JSON of the tree, uint8), ``t_<dtype>`` (packed tensors) and the
human views, which nobody reads back: the tree is what counts.
"""

import hashlib
import io
import json
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

from tomopt_tasks.core import UserError
from tomopt_tasks.store import codec
from tomopt_tasks.store.arrays import ArraySpec, attributes_of, check_arrays, plain
from tomopt_tasks.store.errors import Damage
from tomopt_tasks.store.formats import check_header, digest, header, parse_json
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.zarr3 import (
    ArrayMeta,
    array_json,
    chunk_name,
    group_json,
    parse_array,
    parse_group,
)

COMMENT = b"sha256="
TAIL = len(COMMENT) + 64
MAX_RECORD_BYTES = 2**30
MAX_ENTRIES = 4096
ENTRY = re.compile(r"zarr\.json|[A-Za-z][A-Za-z0-9_]{0,63}/(zarr\.json|c(\.0){0,32})")
SKELETON = "skeleton"
BUFFER = "t_"
BAD_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""All that `zipfile` raises on crafted bytes."""
END = struct.Struct("<4s4H2LH")
HEADER = struct.Struct("<4s6H3L5H2L")
LOCAL_HEADER = 30
"""Parts of a ZIP file: end record, entry of the directory, length of what precedes an entry."""
ROOT = b"zarr.json"
FIXED_DATE = (1980, 1, 1, 0, 0, 0)

Entries = dict[str, bytes]


def build(
    name: tuple[str, str],
    tree: object,
    metrics: dict[str, Any],
    views: Mapping[str, ArraySpec],
) -> tuple[Ref, bytes]:
    """The ref and the bytes of a record.

    Args:
        name: kind and key.
        tree: see `codec`.
        metrics: JSON, already normalised.
        views: small arrays for people with xarray, such as 'detector' and 'history'.
    """
    kind, key = name
    encoded = codec.encode(tree)
    attributes = {"store": header("record", kind=kind, key=key), "metrics": metrics}
    entries: Entries = {"zarr.json": group_json(attributes)}
    skeleton = json.dumps(encoded.skeleton, separators=(",", ":"), allow_nan=False).encode()
    _add_buffer(entries, SKELETON, "uint8", skeleton)
    for dtype, buffer in encoded.buffers.items():
        _add_buffer(entries, BUFFER + dtype, codec.TENSOR_DTYPES[dtype], buffer)
    _add_views(entries, views)
    data = _pack(entries)
    if len(data) > MAX_RECORD_BYTES:
        msg = (
            f"{kind} {key[:12]} has {len(data)} bytes, more than a record may have "
            f"({MAX_RECORD_BYTES}); put large arrays into a dataset"
        )
        raise UserError(msg)
    ref = Ref(kind=kind, key=key, sha256=digest(data), nbytes=len(data), metrics=metrics)
    return ref, data


def peek(data: bytes, kind: str, key: str) -> Ref:
    """Verify a record's bytes and name, and read its ref.

    Raises:
        Damage: any bit differs from what was committed, or it is the record of another key.
        NewerFormat: intact, but of a newer major version.
    """
    checked = hashlib.sha256(memoryview(data)[:-TAIL])
    tail = data[-TAIL:]
    if tail != COMMENT + checked.hexdigest().encode():
        msg = "its digest does not match its bytes"
        raise Damage(msg)
    checked.update(tail)
    attributes = parse_group(_root(data))
    found = check_header(attributes.get("store"), "record", f"{kind} {key[:12]}")
    if (found.get("kind"), found.get("key")) != (kind, key):
        msg = f"it is {found.get('kind')} {str(found.get('key'))[:12]}, put under another name"
        raise Damage(msg)
    metrics = attributes.get("metrics")
    if not isinstance(metrics, dict):
        msg = "it has no metrics"
        raise Damage(msg)
    sha256 = checked.hexdigest()  # all parts are checked, and JSON metrics are what they are:
    return Ref.model_construct(kind=kind, key=key, sha256=sha256, nbytes=len(data), metrics=metrics)


def unpack(data: bytes) -> Any:  # noqa: ANN401
    """The tree of a record that `peek` has verified.

    Raises:
        Damage: crafted contents: other codecs, dtypes, names or sizes than a store writes.
    """
    return codec.decode(*_parts(data))


def outline(data: bytes) -> Any:  # noqa: ANN401
    """The tree of a record that `peek` has verified, with shapes for tensors; without torch.

    Raises:
        Damage: as `unpack`.
    """
    return codec.outline(*_parts(data))


def _parts(data: bytes) -> tuple[Any, dict[str, bytes]]:
    """Skeleton and buffers."""
    with _opened(data) as archive:
        names = {info.filename for info in archive.infolist()}
        arrays = {name.partition("/")[0] for name in names if "/" in name}
        wanted = sorted(name for name in arrays if name == SKELETON or name.startswith(BUFFER))
        buffers = {name: _read_buffer(archive, name) for name in wanted}
    if SKELETON not in buffers:
        msg = "it has no skeleton"
        raise Damage(msg)
    skeleton = parse_json(buffers.pop(SKELETON))
    return skeleton, {name.removeprefix(BUFFER): buffer for name, buffer in buffers.items()}


def _add_buffer(entries: Entries, name: str, dtype: str, buffer: bytes) -> None:
    if not buffer:
        return
    length = len(buffer) // codec.ITEM_BYTES[dtype]
    _add_array(entries, name, _meta(dtype, (length,), (f"n_{name}",), {}), buffer)


def _add_views(entries: Entries, views: Mapping[str, ArraySpec]) -> None:
    check_arrays(views)
    for name, spec in views.items():
        if name == SKELETON or name.startswith((BUFFER, "n_")):
            msg = f"view {name!r} has a reserved name; use another one"
            raise UserError(msg)
        data = plain(spec, name)
        meta = _meta(data.dtype.name, data.shape, spec.dims, attributes_of(spec, name))
        _add_array(entries, name, meta, data.tobytes())


def _meta(
    dtype: str, shape: tuple[int, ...], dims: tuple[str, ...], attributes: dict[str, Any]
) -> ArrayMeta:
    chunks = tuple(max(1, length) for length in shape)
    return ArrayMeta(dtype, shape, chunks, dims, compressed=False, attributes=attributes)


def _add_array(entries: Entries, name: str, meta: ArrayMeta, data: bytes) -> None:
    entries[f"{name}/zarr.json"] = array_json(meta)
    if data:
        entries[f"{name}/{chunk_name([0] * len(meta.shape))}"] = data


def _pack(entries: Entries) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, FIXED_DATE)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
        archive.comment = bytes(TAIL)
    body = memoryview(buffer.getbuffer())[:-TAIL]
    return b"".join([body, COMMENT, digest(body).encode()])


def _root(data: bytes) -> bytes:
    """The last entry of the ZIP, which is ``zarr.json``: a plan looks into thousands of records.

    Read from the end: the end record, then the directory that it points to, without the objects
    that `zipfile` makes of every entry.
    """
    try:
        *_, size, start, comment = END.unpack_from(data, len(data) - TAIL - END.size)
        at = last = start
        while at < start + size:
            last, entry = at, HEADER.unpack_from(data, at)
            at += HEADER.size + sum(entry[10:13])
        signature, method, nbytes, local = entry[0], entry[4], entry[9], entry[16]
        name = data[last + HEADER.size : last + HEADER.size + len(ROOT)]
        begin = local + LOCAL_HEADER + len(ROOT)
    except (struct.error, NameError) as error:
        msg = f"it is not a ZIP file ({error})"
        raise Damage(msg) from error
    whole = comment == TAIL and at == start + size == len(data) - TAIL - END.size
    if not whole or (signature, method, name) != (b"PK\1\2", 0, ROOT) or begin + nbytes > start:
        msg = "its directory is one that a store never writes"
        raise Damage(msg)
    return data[begin : begin + nbytes]


def _opened(data: bytes) -> zipfile.ZipFile:
    """An archive whose entries are plainly named, stored, and no larger than the file."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except BAD_ZIP as error:
        msg = f"it is not a ZIP file ({error})"
        raise Damage(msg) from error
    infos = archive.infolist()
    names = {info.filename for info in infos}
    if len(names) != len(infos) or len(infos) > MAX_ENTRIES:
        msg = "it has entries of equal name, or too many"
        raise Damage(msg)
    for info in infos:
        if not ENTRY.fullmatch(info.filename) or info.compress_type != zipfile.ZIP_STORED:
            msg = f"it has an entry {info.filename!r} that a store never writes"
            raise Damage(msg)
    if sum(info.file_size for info in infos) > len(data):
        msg = "its entries claim to be larger than the file"
        raise Damage(msg)
    return archive


def _read(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except BAD_ZIP as error:
        msg = f"its entry {name!r} cannot be read ({error})"
        raise Damage(msg) from error


def _read_buffer(archive: zipfile.ZipFile, name: str) -> bytes:
    meta = parse_array(_read(archive, f"{name}/zarr.json"), name)
    dtype = "uint8" if name == SKELETON else codec.TENSOR_DTYPES.get(name.removeprefix(BUFFER))
    data = _read(archive, f"{name}/c.0")
    if meta.compressed or meta.dtype != dtype or meta.shape != meta.chunks or len(meta.shape) != 1:
        msg = f"array {name!r} is not a packed buffer"
        raise Damage(msg)
    if meta.nbytes != len(data):
        msg = f"array {name!r} has {len(data)} bytes, its shape says {meta.nbytes}"
        raise Damage(msg)
    return data
