"""The muon bank: the state of each muon above and below the passive volume.

Panels do not scatter, so a bank depends on scene, muon source and seed alone, and serves every
detector. Random numbers come from one stream per volume for the source, and one per volume and
block of ``BLOCK`` muons for the scattering; chunks only group blocks and change no bit.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.muons.source import IncidentMuons, incident_muons
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import HighlandSettings, ScatterSettings
from tomopt_tasks.transport.passive import fly_straight, scatter_through
from tomopt_tasks.volume.settings import World

BLOCK = 4096
"""Muons of a volume whose random numbers are drawn together: a constant of the results."""

CHUNK = 32768
"""Muons simulated at a time: bounds the memory, changes no result."""

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
) -> tuple[Float[Tensor, "vol mu 9"], Int[Tensor, " vol"]]:
    """Simulates one exposure of each volume.

    Args:
        x0: radiation length of each voxel [m]; > 0, infinite for vacuum.
        world: the box of the passive volume.
        muons: source, aim and number of muons for each volume.
        scatter: scatter model.
        seed: the seed of the muons.
        split: name of the set of volumes; names the random streams.
        replica: number of the exposure; names the random streams.

    Returns:
        States in the order of ``COLUMNS``, and the number of muons generated for each volume.

    Raises:
        UserError: the grid is not that of the world, or too few muons cross the volume.
    """
    if tuple(x0.shape[1:]) != world.shape:
        got = tuple(x0.shape[1:])
        raise UserError(f"x0: got {got} voxels along (z, x, y), but the world has {world.shape}")
    per_chunk = max(1, CHUNK // min(BLOCK, muons.per_volume))
    states, generated = [], []
    for low in range(0, len(x0), per_chunk):
        names = [(split, replica, v) for v in range(low, min(low + per_chunk, len(x0)))]
        streams = [stream(seed, "muons", *name) for name in names]
        incident = incident_muons(muons, world, streams, muons.per_volume)
        density = world.voxel / x0[low : low + per_chunk].double()
        blocks = [
            _simulate(
                density,
                _take(incident, block),
                world,
                scatter,
                [stream(seed, "scatter", *name, block) for name in names],
            )
            for block in range(-(-muons.per_volume // BLOCK))
        ]
        states.append(torch.cat(blocks, dim=1))
        generated.append(incident.generated)
    return torch.cat(states), torch.cat(generated)


def _take(muons: IncidentMuons, block: int) -> IncidentMuons:
    """The muons of one block of each volume."""
    part = slice(block * BLOCK, (block + 1) * BLOCK)
    return IncidentMuons(
        muons.x[:, part], muons.y[:, part], muons.tan_x[:, part], muons.tan_y[:, part],
        muons.momentum[:, part], muons.generated,
    )  # fmt: skip


def _simulate(
    density: Float[Tensor, "vol z x y"],
    muons: IncidentMuons,
    world: World,
    scatter: ScatterSettings,
    streams: Sequence[Generator],
) -> Float[Tensor, "vol mu 9"]:
    """States of the muons above and below the volume."""
    position = (muons.x / world.voxel, muons.y / world.voxel)
    slope = (muons.tan_x, muons.tan_y)
    if isinstance(scatter, HighlandSettings):
        normal = _normals(streams, density.shape[1], muons.x.shape[1])
        below = scatter_through(
            density, position, slope, muons.momentum, normal, _in_voxels(scatter, world)
        )
    else:
        below = fly_straight(position, slope, density.shape[1])
    (x, y), out = below
    columns = (muons.x, muons.y, *slope, x * world.voxel, y * world.voxel, *out, muons.momentum)
    return torch.stack(columns, dim=-1)


def _in_voxels(scatter: HighlandSettings, world: World) -> HighlandSettings:
    return scatter.model_copy(update={"step": scatter.step / world.voxel})


def _normals(
    streams: Sequence[Generator], n_layers: int, n_muons: int
) -> Float[Tensor, "vol z 4 mu"]:
    """Standard normal numbers; drawn in single precision, which is five times faster."""
    normal = torch.empty(len(streams), n_layers, 4, n_muons, dtype=torch.float32)
    for row, generator in zip(normal, streams, strict=True):
        torch.randn(n_layers, 4, n_muons, generator=generator, out=row)
    return normal
