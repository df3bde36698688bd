"""What an update holds in memory to save time: graphs, and scatters that are looked at again.

All of it can be dropped and is then formed anew, with equal bits.
"""

from typing import Protocol, runtime_checkable

import torch

MEMORY = 1 << 30
"""Bytes that an update may hold; changes no result."""


@runtime_checkable
class Droppable(Protocol):
    """What can be formed anew."""

    def drop(self) -> None:
        """Give up what is held."""
        ...


class HeldMemory:
    """How much an update may hold, and what it does hold.

    Args:
        limit: bytes; halved each time a device has no memory left.
    """

    def __init__(self, limit: int = MEMORY) -> None:
        self.limit = limit
        self._used = self._reserved = 0
        self._held: list[Droppable] = []

    def clear(self) -> None:
        """Drop all that is held: an update is over, or predictions that have no gradients."""
        self._drop()
        self._used = self._reserved = 0

    def reserve(self, n_bytes: int) -> None:
        """Leave room for something that is there only now and then, one of these at a time."""
        self._reserved = max(self._reserved, n_bytes)

    def fits(self, n_bytes: int) -> bool:
        """Whether there is room for so much more; if not, nor is there for anything later."""
        self._used += n_bytes
        return self._used + self._reserved <= self.limit

    def hold(self, droppable: Droppable) -> None:
        """Take note of something that can be dropped."""
        self._held.append(droppable)

    def __bool__(self) -> bool:
        """Whether anything is held."""
        return bool(self._held)

    def free(self, device: torch.device) -> None:
        """Drop all that is held, and hold half as much from now on."""
        self.limit //= 2
        self._drop()
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def _drop(self) -> None:
        for droppable in self._held:
            droppable.drop()
        self._held.clear()
