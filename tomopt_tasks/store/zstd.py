"""Compression of chunks; reading never allocates more than the metadata allow."""

from typing import Any

import numpy as np

from tomopt_tasks.store.errors import Damage

LEVEL = 3
MAGIC = b"\x28\xb5\x2f\xfd"


def compress(data: bytes) -> bytes:
    """One Zstandard frame with its content size and a checksum."""
    return bytes(_codec().encode(data))


def decompress_into(raw: bytes, out: np.ndarray) -> None:
    """Fill ``out`` exactly.

    Raises:
        Damage: the frame is malformed, or holds more or less than ``out``.
    """
    size = content_size(raw)
    if size != out.nbytes:
        msg = f"a chunk unpacks to {size} bytes, its metadata say {out.nbytes}"
        raise Damage(msg)
    try:
        _codec().decode(raw, out.reshape(-1).view(np.uint8))
    except (RuntimeError, ValueError) as error:
        msg = f"a chunk cannot be unpacked ({error})"
        raise Damage(msg) from error


def content_size(raw: bytes) -> int | None:
    """Content size [bytes] in a frame's header (RFC 8878, section 3.1.1.1); None if there is none.

    The decoder itself would accept a frame that fills its output only in part.
    """
    if len(raw) < 6 or raw[:4] != MAGIC:
        return None
    descriptor = raw[4]
    single_segment = descriptor >> 5 & 1
    field = (single_segment, 2, 4, 8)[descriptor >> 6]
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    if field == 0 or len(raw) < start + field:
        return None
    return int.from_bytes(raw[start : start + field], "little") + (256 if field == 2 else 0)


def _codec() -> Any:  # noqa: ANN401
    from numcodecs.zstd import Zstd  # noqa: PLC0415  (0.2 s; finding needs it not)

    return Zstd(level=LEVEL, checksum=True)
