"""What a store needs of the place where it lies: a folder or an S3 bucket."""

import time
from typing import NamedTuple, Protocol, runtime_checkable

TMP = ".tmp"
DAMAGED = ".damaged"
SETTLED_AFTER = 0.1
"""Clocks of file systems are coarse: a younger file could change and keep its stamp [s]."""


class Stat(NamedTuple):
    """What can be known of an object without reading it."""

    size: int
    stamp: tuple[int | str, ...]
    """Changes whenever the object is replaced or edited."""
    modified: float
    """Seconds since the epoch."""

    def settled(self) -> bool:
        """Whether any later change must change the stamp too, so that it may be remembered."""
        return time.time() - self.modified > SETTLED_AFTER


class Blob(NamedTuple):
    """An object's bytes and the stat that belongs to exactly these bytes."""

    data: bytes
    stat: Stat


@runtime_checkable
class Backend(Protocol):
    """Paths are relative, with '/' between parts. Every failure is a `StoreUnavailable`."""

    url: str

    def get(self, path: str, limit: int) -> Blob | None:
        """The whole object, or None if there is none.

        Of an object larger than ``limit`` bytes no data come back, only its stat.
        """

    def stat(self, path: str) -> Stat | None:
        """Size and stamp, or None if there is no such object."""

    def listing(self, prefix: str) -> dict[str, Stat]:
        """All objects below ``prefix``, by path."""

    def children(self, prefix: str) -> list[str]:
        """Sorted names directly below ``prefix``; "" is the root."""

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Publish whole and durable; False, and nothing done, if the path is taken."""

    def write(self, path: str, data: bytes) -> None:
        """Write below a private prefix that nobody reads yet."""

    def flush(self, prefix: str) -> None:
        """Make all that was written below ``prefix`` survive a power cut."""

    def delete(self, path: str) -> None:
        """Remove an object; no complaint if there is none."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove everything below ``prefix``."""

    def move(self, source: str, target: str) -> None:
        """Rename; no complaint if the source has gone."""
