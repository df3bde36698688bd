"""States of the muons of a bank, whole in memory or loaded some volumes at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class States(Protocol):
    """Rows of a bank for volume after volume, (vol, mu, 9); a tensor is one of these."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Volumes, muons of each, columns."""
        ...

    def __getitem__(self, volumes: slice, /) -> Tensor:
        """Those of some consecutive volumes."""
        ...


@dataclass(frozen=True)
class LazyStates:
    """States that are loaded, or made, each time they are looked at."""

    shape: tuple[int, ...]
    """Volumes, muons of each, columns."""
    load: Callable[[slice, slice], Tensor]
    """Those of some consecutive volumes, and of these some consecutive muons."""

    def __getitem__(self, volumes: slice, /) -> Float[Tensor, "vol mu 9"]:
        """Those of some consecutive volumes."""
        start, stop, step = volumes.indices(self.shape[0])
        if step != 1:
            raise ValueError(f"volumes {volumes} of a bank; take consecutive ones")
        return self.load(slice(start, max(start, stop)), slice(0, self.shape[1]))


def part_of(states: States, volumes: slice, muons: slice) -> Float[Tensor, "vol mu 9"]:
    """Some consecutive muons of some consecutive volumes."""
    if isinstance(states, LazyStates):
        return states.load(volumes, muons)
    return states[volumes][:, muons]


def some_volumes(states: States, first: int, stop: int) -> States:
    """Those of some volumes; what is lazy stays so, and nothing of it is held."""
    if isinstance(states, Tensor):
        return states[first:stop]
    shape = (stop - first, *states.shape[1:])
    return LazyStates(shape, lambda volumes, muons: part_of(states, _later(volumes, first), muons))


def some_muons(states: States, first: int, stop: int) -> States:
    """A shorter exposure: some consecutive muons of each volume."""
    if isinstance(states, Tensor):
        return states[:, first:stop]
    shape = (states.shape[0], min(stop, states.shape[1]) - first, *states.shape[2:])
    return LazyStates(shape, lambda volumes, muons: part_of(states, volumes, _later(muons, first)))


def _later(part: slice, by: int) -> slice:
    return slice(part.start + by, part.stop + by)


def mirrored_states(states: States, turn: int, size: tuple[float, float]) -> States:
    """The same muons in mirror image: volume v in image (v + turn) mod 4.

    Images: as it is, x turned, y turned, both turned.

    Args:
        states: as they were transported.
        turn: which image comes first.
        size: width of the volumes in x and y [m].
    """

    def load(volumes: slice, muons: slice) -> Tensor:
        state = part_of(states, volumes, muons).clone()
        image = (torch.arange(volumes.start, volumes.stop) + turn) % 4
        for axis, turned in ((0, image % 2 == 1), (1, image >= 2)):
            for position, slope in ((axis, axis + 2), (axis + 4, axis + 6)):
                state[turned, :, position] = size[axis] - state[turned, :, position]
                state[turned, :, slope] = -state[turned, :, slope]
        return state

    lazy = LazyStates(tuple(states.shape), load)
    return lazy[:] if isinstance(states, Tensor) else lazy
