"""The muon bank: the state of each muon above and below the passive volume.

Panels do not scatter, so a bank depends on scene, muon source and seed alone, and serves every
detector. Random numbers come from one stream per volume for the source, and one per volume and
block of ``BLOCK`` muons for the scattering; chunks only group blocks and change no bit. A table of
the user's own takes the place of the source, or of source and scattering.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.muons.settings import MuonSettings, TableSettings
from tomopt_tasks.muons.source import IncidentMuons, incident_muons, incident_stretches
from tomopt_tasks.muons.table import table_muons
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import NoScatterSettings, ScatterSettings
from tomopt_tasks.transport.passive import fly_straight, scatter_through
from tomopt_tasks.volume.settings import World

BLOCK = 4096
"""Muons of a volume whose random numbers are drawn together: a constant of the results."""

CHUNK = 32768
"""Muons simulated at a time: bounds the memory, changes no result."""

STRETCH = 16 * BLOCK
"""Muons of a volume that are made at a time where a volume has more: bounds the memory, too."""

COLUMNS = (
    "x_in", "y_in", "tan_x_in", "tan_y_in", "x_out", "y_out", "tan_x_out", "tan_y_out", "momentum"
)  # fmt: skip
"""Last axis of a bank: at the top of the passive volume, then at its bottom; m, tangents, GeV."""


def transport(  # noqa: PLR0913, PLR0917  (what a bank depends on)
    x0: Float[Tensor, "vol z x y"],
    world: World,
    muons: MuonSettings,
    scatter: ScatterSettings,
    seed: int,
    split: str,
    replica: int = 0,
    *,
    first_volume: int = 0,
) -> tuple[Float[Tensor, "vol mu 9"], Int[Tensor, " vol"]]:
    """Simulates one exposure of each volume.

    Args:
        x0: radiation length of each voxel [m]; > 0, infinite for vacuum. The simulation runs where
            it lives; CPU and CUDA agree statistically.
        world: the box of the passive volume.
        muons: source, aim and number of muons for each volume.
        scatter: scatter model.
        seed: the seed of the muons.
        split: name of the set of volumes; names the random streams.
        replica: number of the exposure; names the random streams.
        first_volume: number of the first of these volumes in its set, if they are a part of it.

    Returns:
        States in the order of ``COLUMNS``, and the number of muons generated for each volume.

    Raises:
        UserError: the grid is not that of the world, too few muons cross the volume, or a table
            does not hold what is needed.
    """
    states = x0.new_empty(len(x0), muons.per_volume, len(COLUMNS), dtype=torch.float64)
    generated = torch.zeros(len(x0), dtype=torch.int64, device=x0.device)
    for part in transported(
        x0, world, muons, scatter, seed, split, replica, first_volume=first_volume
    ):
        states[part.volumes, part.muons] = part.state
        generated[part.volumes] += part.generated
    return states, generated


class BankPart(NamedTuple):
    """Some of the muons of some volumes of a bank."""

    volumes: slice
    muons: slice
    state: Float[Tensor, "some mu 9"]
    """In the order of ``COLUMNS``."""
    generated: Int[Tensor, " some"]
    """Muons generated for these; those of all parts of a volume add up."""


def transported(  # noqa: PLR0913, PLR0917  (as above)
    x0: Float[Tensor, "vol z x y"],
    world: World,
    muons: MuonSettings,
    scatter: ScatterSettings,
    seed: int,
    split: str,
    replica: int = 0,
    *,
    first_volume: int = 0,
) -> Iterator[BankPart]:
    """The same volume by volume, a few at a time and in order, in the memory of those few.

    Of a volume with many muons these come a few at a time, too. Arguments and errors are those of
    :func:`transport`.
    """
    if tuple(x0.shape[1:]) != world.shape:
        got = tuple(x0.shape[1:])
        raise UserError(f"x0: got {got} voxels along (z, x, y), but the world has {world.shape}")
    per_chunk = max(1, CHUNK // min(BLOCK, muons.per_volume))
    for low in range(0, len(x0), per_chunk):
        some = x0[low : low + per_chunk].double()
        numbers = range(first_volume + low, first_volume + low + len(some))
        names = [(split, replica, number) for number in numbers]
        if muons.per_volume <= STRETCH or isinstance(muons.source, TableSettings):
            made = _chunk(some, world, muons, scatter, seed, names)
            yield BankPart(slice(low, low + len(some)), slice(0, muons.per_volume), *made)
            continue
        for k, name in enumerate(names):
            parts = _one_volume(some[k : k + 1], world, muons, scatter, seed, name)
            for start, made in zip(range(0, muons.per_volume, STRETCH), parts, strict=True):
                stop = start + made[0].shape[1]
                yield BankPart(slice(low + k, low + k + 1), slice(start, stop), *made)


def _chunk(
    x0: Float[Tensor, "vol z x y"],
    world: World,
    muons: MuonSettings,
    scatter: ScatterSettings,
    seed: int,
    names: Sequence[tuple[str, int, int]],
) -> tuple[Float[Tensor, "vol mu 9"], Int[Tensor, " vol"]]:
    """One chunk of :func:`transported`; names are split, replica and number of each volume."""
    device, source = x0.device, muons.source
    if isinstance(source, TableSettings):
        split, replica, first = names[0]
        numbers = range(first, first + len(names))
        incident, behind = table_muons(muons, world, split, numbers, replica, device)
    else:
        streams = [stream(seed, "muons", *name, device=device) for name in names]
        incident, behind = incident_muons(muons, world, streams, muons.per_volume), None
    if behind is not None:
        state = torch.stack([*incident.above, *behind, incident.momentum], -1)
        return state, incident.generated
    return _scattered(x0, incident, world, scatter, (seed, names, 0)), incident.generated


def _one_volume(
    x0: Float[Tensor, "vol z x y"],
    world: World,
    muons: MuonSettings,
    scatter: ScatterSettings,
    seed: int,
    name: tuple[str, int, int],
) -> Iterator[tuple[Float[Tensor, "1 some 9"], Int[Tensor, " 1"]]]:
    """The muons of one volume of :func:`transported`, some at a time."""
    rng, first_block = stream(seed, "muons", *name, device=x0.device), 0
    for some in incident_stretches(muons, world, rng, muons.per_volume, STRETCH):
        yield _scattered(x0, some, world, scatter, (seed, [name], first_block)), some.generated
        first_block += STRETCH // BLOCK


def _scattered(
    x0: Float[Tensor, "vol z x y"],
    incident: IncidentMuons,
    world: World,
    scatter: ScatterSettings,
    named: tuple[int, Sequence[tuple[str, int, int]], int],
) -> Float[Tensor, "vol mu 9"]:
    """States of muons; named by a seed, names of the volumes, and number of the first block."""
    seed, names, first_block = named
    n_muons = incident.x.shape[1]
    states = x0.new_empty(len(x0), n_muons, len(COLUMNS))
    for first in range(0, n_muons, BLOCK):
        block = slice(first, first + BLOCK)
        number = first_block + first // BLOCK
        streams = [stream(seed, "scatter", *name, number, device=x0.device) for name in names]
        columns = _simulate(x0, _take(incident, block), world, scatter, streams)
        torch.stack(columns, -1, out=states[:, block])
    return states


def _take(muons: IncidentMuons, part: slice) -> IncidentMuons:
    """Some of the muons of each volume."""
    return IncidentMuons(
        muons.x[:, part], muons.y[:, part], muons.tan_x[:, part], muons.tan_y[:, part],
        muons.momentum[:, part], muons.generated,
    )  # fmt: skip


def _simulate(
    x0: Float[Tensor, "vol z x y"],
    muons: IncidentMuons,
    world: World,
    scatter: ScatterSettings,
    streams: Sequence[Generator],
) -> tuple[Tensor, ...]:
    """The columns of a bank."""
    above = muons.above
    if isinstance(scatter, NoScatterSettings):
        below = fly_straight(above, world.passive[1] - world.passive[0])
    else:
        normal = _normals(streams, x0.shape[1], muons.x.shape[1])
        below = scatter_through(x0, world.voxel, above, muons.momentum, normal, scatter)
    return (*above, *below, muons.momentum)


def _normals(
    streams: Sequence[Generator], n_layers: int, n_muons: int
) -> Float[Tensor, "vol z 4 mu"]:
    """Standard normal numbers; drawn in single precision, which is five times faster."""
    shape = (len(streams), n_layers, 4, n_muons)
    normal = torch.empty(shape, dtype=torch.float32, device=streams[0].device)
    for row, generator in zip(normal, streams, strict=True):
        row.normal_(generator=generator)
    return normal
