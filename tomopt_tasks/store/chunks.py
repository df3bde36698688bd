"""How an array is cut: chunks of a few MB along the volume axis, every other axis whole."""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.store.zarr3 import MAX_CHUNK_BYTES, ArrayMeta

TARGET_BYTES = 4 * 2**20
ROW_AXIS = "volume"

Index = tuple[int, ...]


def row_axis(dims: tuple[str, ...]) -> int:
    """The axis that chunks split: 'volume', else the first."""
    return dims.index(ROW_AXIS) if ROW_AXIS in dims else 0


def chunk_shape(shape: tuple[int, ...], dims: tuple[str, ...], itemsize: int) -> tuple[int, ...]:
    """Whole rows of about 4 MB; a single row may be larger.

    Raises:
        UserError: one row alone is beyond 1 GiB.
    """
    if not shape:
        return ()
    axis = row_axis(dims)
    row_bytes = max(1, math.prod(shape[axis + 1 :]) * itemsize)
    if row_bytes > MAX_CHUNK_BYTES:
        msg = (
            f"one step along {dims[axis]!r} of an array of shape {shape} has {row_bytes} bytes, "
            f"more than a chunk may have ({MAX_CHUNK_BYTES}); split that array"
        )
        raise UserError(msg)
    rows = min(max(1, TARGET_BYTES // row_bytes), max(1, shape[axis]))
    whole = (max(1, n) for n in shape[axis + 1 :])
    return (*(1 for _ in range(axis)), rows, *whole)


def indices(meta: ArrayMeta) -> Iterator[Index]:
    """All chunk indices of an array, in C order."""
    return itertools.product(*(range(n) for n in meta.grid))


def cut(data: np.ndarray, meta: ArrayMeta, index: Index) -> bytes:
    """Bytes of one chunk; beyond the edge of the array it is padded with zeros."""
    corner = [i * c for i, c in zip(index, meta.chunks, strict=True)]
    part = data[tuple(slice(a, a + c) for a, c in zip(corner, meta.chunks, strict=True))]
    if part.shape == meta.chunks:
        return part.tobytes()
    full = np.zeros(meta.chunks, dtype=data.dtype)
    full[tuple(slice(0, n) for n in part.shape)] = part
    return full.tobytes()


def touched(meta: ArrayMeta, axis: int, start: int, stop: int) -> Iterator[Index]:
    """Indices of the chunks that hold rows ``start`` to ``stop`` of an axis."""
    spans = [range(n) for n in meta.grid]
    size = meta.chunks[axis]
    spans[axis] = range(start // size, -(-stop // size)) if stop > start else range(0)
    return itertools.product(*spans)


def paste(out: np.ndarray, chunk: np.ndarray, index: Index, axis: int, start: int) -> None:
    """Copy the overlap of a chunk into ``out``, whose axis ``axis`` begins at row ``start``."""
    into, source = [], []
    for i, size, (a, n) in zip(index, chunk.shape, enumerate(out.shape), strict=True):
        low = i * size - (start if a == axis else 0)
        into.append(slice(max(low, 0), min(low + size, n)))
        source.append(slice(max(-low, 0), min(size, n - low)))
    out[tuple(into)] = chunk[tuple(source)]
