"""How an array is cut: chunks of a few MB along the volume axis, every other axis whole.

A row that is longer than that is cut along the axis after it, so that a volume with very many muons
is written and read a stretch of muons at a time.
"""

import itertools
import math
from collections.abc import Iterator, Mapping

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
    """Whole rows, or stretches of one, of about 4 MB; one step of a stretch may be larger.

    Raises:
        UserError: one step alone is beyond 1 GiB.
    """
    if not shape:
        return ()
    axis = row_axis(dims)
    row_bytes = max(1, math.prod(shape[axis + 1 :]) * itemsize)
    ones = (1,) * axis
    if row_bytes > TARGET_BYTES and axis + 1 < len(shape):
        ones, axis = (*ones, 1), axis + 1
    step_bytes = max(1, math.prod(shape[axis + 1 :]) * itemsize)
    if step_bytes > MAX_CHUNK_BYTES:
        msg = (
            f"one step along {dims[axis]!r} of an array of shape {shape} has {step_bytes} bytes, "
            f"more than a chunk may have ({MAX_CHUNK_BYTES}); split that array"
        )
        raise UserError(msg)
    steps = min(max(1, TARGET_BYTES // step_bytes), max(1, shape[axis]))
    return (*ones, steps, *(max(1, n) for n in shape[axis + 1 :]))


def cut_axis(meta: ArrayMeta) -> int:
    """The axis along which chunks follow one another: that of rows, or the one within a row."""
    axis = row_axis(meta.dims)
    inner = axis + 1 < len(meta.shape) and meta.chunks[axis + 1] < meta.shape[axis + 1]
    return axis + 1 if inner else axis


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


Spans = Mapping[int, tuple[int, int]]
"""First index and the one after the last, for some axes; the others are whole."""


def touched(meta: ArrayMeta, spans: Spans) -> Iterator[Index]:
    """Indices of the chunks that hold some part of an array."""
    every = [range(n) for n in meta.grid]
    for axis, (start, stop) in spans.items():
        size = meta.chunks[axis]
        every[axis] = range(start // size, -(-stop // size)) if stop > start else range(0)
    return itertools.product(*every)


def paste(out: np.ndarray, chunk: np.ndarray, index: Index, spans: Spans) -> None:
    """Copy the overlap of a chunk into ``out``, the part of an array that spans say."""
    into, source = [], []
    for i, size, (a, n) in zip(index, chunk.shape, enumerate(out.shape), strict=True):
        low = i * size - spans.get(a, (0, 0))[0]
        into.append(slice(max(low, 0), min(low + size, n)))
        source.append(slice(max(-low, 0), min(size, n - low)))
    out[tuple(into)] = chunk[tuple(source)]
