"""What one pass of muons sees: volumes, one after the other or many at once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream
from tomopt_tasks.transport.states import States, mirrored_states, some_muons, some_volumes
from tomopt_tasks.volume.layer import check_rad_length

BLOCK = 4096
"""Muons that share one draw of random numbers: the unit of reproducibility."""
CHUNK = 40960
"""Muons that a banked scan takes at a time, in whole volumes: it stays in the caches, and the graph
of a scan in memory. Gradients are summed scan by scan, so that it is a constant of the results."""
NUMBERS_PER_MUON = 750
"""Numbers that the graph of a scan holds for each muon, at most."""
NUMBERS_REDUCED = 32
"""Numbers that the scatters of a muon have without its hits, at most."""


@runtime_checkable
class Passives(Protocol):
    """What a fit or a prediction scans: pairs of a layout and a target."""

    def __len__(self) -> int:
        """Number of volumes."""
        ...

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Layouts with their targets."""
        ...


@dataclass(frozen=True)
class BankedPassives:
    """Volumes whose muons have been transported before: read from a muon bank.

    Args:
        x0: radiation lengths [m].
        target: what is to be predicted, one a volume.
        state: (x, y, tan_x, tan_y) at the top, the same at the bottom of the passive volume, p;
            (vol, mu, 9). Only the volumes of one scan are looked at at a time.

    Raises:
        UserError: a value is no radiation length.
    """

    x0: Float[Tensor, "vol z x y"]
    target: Float[Tensor, "vol ..."]
    state: States
    first: int = 0
    """Number of the first volume in the whole set; names the streams of the hits."""

    def __post_init__(self) -> None:
        """All grids are checked here at once, so that no scan waits for the device."""
        check_rad_length(self.x0)

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.target)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Grids with their targets, each target of shape (1,) or that of the grid."""
        for grid, target in zip(self.x0, self.target, strict=True):
            yield grid, target.reshape(1) if target.ndim == 0 else target


def turn_of(epoch: int) -> int:
    """The image that comes first in an epoch: the sum of its digits in base 4.

    The number of the epoch alone would keep pace with two or four exposures that take turns: each
    muon would be seen in one or two of its images for ever. Here each of four exposures meets all
    four images within sixteen epochs, and those of any other number do in time.

    Args:
        epoch: epochs before this one; >= 0.
    """
    turn = 0
    while epoch:
        epoch, digit = divmod(epoch, 4)
        turn += digit
    return turn % 4


MIRRORED = 1e-6
"""How far a radiation length may be from that of the mirror image, relatively: rounding."""


def mirrored(passives: BankedPassives, turn: int, size: tuple[float, float]) -> BankedPassives:
    """The same volumes with muons in mirror image: volume v in image (v + turn) mod 4.

    Images: as it is, x turned, y turned, both turned.

    Args:
        passives: volumes that are their own mirror images in x and in y.
        turn: which image comes first.
        size: width of the volumes in x and y [m].

    Raises:
        UserError: a volume is not its own mirror image.
    """
    x0 = passives.x0
    if not all(torch.allclose(x0, x0.flip(axis), rtol=MIRRORED, atol=0.0) for axis in (2, 3)):
        raise UserError(
            "fit.mirror: the training volumes are not their own mirror images in x and y, so that "
            "mirrored muons would belong to other objects; set fit.mirror to false"
        )
    state = mirrored_states(passives.state, turn, size)
    return BankedPassives(x0, passives.target, state, passives.first)


@dataclass(frozen=True)
class Scan:
    """Some consecutive volumes that are irradiated together."""

    first: int
    volumes: Sequence[tuple[Any, Any]]
    state: States | None
    """Those of a bank are looked at when they are needed, and not held for a backward pass."""
    first_muon: int = 0
    """Number of the first muon in the exposure of its volume."""

    def __len__(self) -> int:
        """Number of volumes."""
        return len(self.volumes)

    def rows(self, like: Tensor) -> Float[Tensor, "mu 9"]:
        """States of all muons, volume by volume; each column contiguous, as arithmetic wants it."""
        assert self.state is not None
        state = self.state[: len(self)]
        return state.flatten(0, 1).t().contiguous().t().to(like)

    def pieces(self) -> list["Scan"]:
        """The muons of its one volume, ``CHUNK`` at a time; itself if they are no more."""
        state, size = self.state, max(BLOCK, CHUNK // BLOCK * BLOCK)
        if state is None or len(self) > 1 or state.shape[1] <= size:
            return [self]
        starts = range(0, state.shape[1], size)
        return [replace(self, state=some_muons(state, k, k + size), first_muon=k) for k in starts]


def scans(passives: Passives, batch_size: int | None, start: int = 0) -> Iterator[Scan]:
    """Cut volumes into scans that never cross the end of a batch of volumes.

    Volumes with a bank are scanned together, up to ``CHUNK`` muons but at least one volume at a
    time; others one by one, as the hooks of the seed expect.

    Args:
        passives: the volumes.
        batch_size: volumes per update; None: no batches.
        start: volumes that are left out at the beginning.
    """
    state = passives.state if isinstance(passives, BankedPassives) else None
    most = 1 if state is None else max(1, CHUNK // max(1, state.shape[1]))
    offset = getattr(passives, "first", 0)
    volumes = islice(passives, start, None)
    first = start
    while chunk := list(islice(volumes, _until_end_of_batch(first, most, batch_size))):
        rows = None if state is None else some_volumes(state, first, first + len(chunk))
        yield Scan(first + offset, chunk, rows)
        first += len(chunk)


def _until_end_of_batch(first: int, most: int, batch_size: int | None) -> int:
    return most if batch_size is None else min(most, batch_size - first % batch_size)


class HitNoise:
    """Standard normal numbers for the hits of a scan, one stream a volume and side.

    Args:
        seed: seed of the fit.
        names: further names of the streams (state, epoch, batch of muons).
        volumes: indices of the volumes.
        n_muons: muons a volume.
        first_muon: number of the first of them; a multiple of ``BLOCK``.
    """

    def __init__(
        self,
        seed: int,
        names: tuple[str | int, ...],
        volumes: Sequence[int],
        n_muons: int,
        first_muon: int = 0,
    ) -> None:
        self.seed = seed
        self.names = names
        self.volumes = list(volumes)
        self.n_muons = n_muons
        self.first_block = first_muon // BLOCK

    def __call__(
        self, side: str, n_panels: int, dtype: torch.dtype, device: torch.device
    ) -> Float[Tensor, "mu panel 2"]:
        """Numbers for the panels of one side; equal for equal names, whatever is drawn besides."""
        n_all = len(self.volumes) * self.n_muons
        numbers = torch.empty((n_panels, 2, n_all), dtype=dtype, device=device).permute(2, 0, 1)
        first = 0
        for volume in self.volumes:
            for start in range(0, self.n_muons, BLOCK):
                block = self.first_block + start // BLOCK
                generator = stream(
                    self.seed, "hits", *self.names, volume, side, block, device=device
                )
                n_here = min(BLOCK, self.n_muons - start)
                shape = (n_here, n_panels, 2)
                numbers[first : first + n_here] = torch.randn(
                    shape, generator=generator, dtype=dtype, device=device
                )
                first += n_here
        return numbers


PartialScatterInferrer = Callable[..., Any]
PartialVolumeInferrer = Callable[..., Any]
