"""Families of objects that are drawn by the generators of the notebook interface."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from tomopt_tasks.materials import find_material
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.benchmarks import (
    X0_SOIL,
    X0_WALL,
    SmallWallsPassiveGenerator,
    ULorryPassiveGenerator,
)
from tomopt_tasks.volume.blocks import (
    BlockPresentPassiveGenerator,
    RandomBlockPassiveGenerator,
    VoxelPassiveGenerator,
)
from tomopt_tasks.volume.cargo import RandomCargoPassiveGenerator
from tomopt_tasks.volume.grid import border_index, check_inside
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.passives import AbsPassiveGenerator
from tomopt_tasks.volume.scene_settings import (
    BlockPresentSettings,
    Box,
    BoxesSettings,
    CargoSettings,
    LeadInBerylliumSettings,
    RandomBlockSettings,
    SmallWallsSettings,
    ULorrySettings,
    VoxelSettings,
)
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.volume import Volume

Drawn = tuple[Float[Tensor, "vol z x y"], Float[Tensor, "vol ..."]]


def draw_scenes(
    world: World,
    build: Callable[[Volume, Generator], AbsPassiveGenerator],
    n_volumes: int,
    seed: int,
    split: str,
) -> tuple[Float[Tensor, "vol z x y"], Float[Tensor, "vol ..."]]:
    """X0 grids [m] and targets of a random family, each from a stream of its own.

    Args:
        world: the box of the passive volume.
        build: makes the generator of objects for a volume and a stream, for instance
            ``lambda volume, rng: ULorryPassiveGenerator(volume, 0.012, rng=rng)``.
        n_volumes: how many.
        seed: seed of the scenes.
        split: name of the set of volumes; names the streams.
    """
    volume = passive_volume(world)
    grids, targets = [], []
    for number in range(n_volumes):
        layout, target = build(volume, stream(seed, "scene", split, number)).get_data()
        volume.load_rad_length(layout)
        grids.append(volume.get_rad_cube().clone())
        targets.append(torch.as_tensor(0.0 if target is None else target, dtype=torch.float64))
    stacked = torch.stack(targets)
    return torch.stack(grids), stacked.squeeze(-1) if stacked.shape[1:] == (1,) else stacked


def passive_volume(world: World) -> Volume:
    """The passive layers of a world, empty, in double precision."""
    lw = torch.tensor(world.size, dtype=torch.float64)
    tops = [world.passive[0] + (k + 1) * world.voxel for k in reversed(range(world.shape[0]))]
    return Volume([PassiveLayer(lw, z, world.voxel) for z in tops])


def voxel(world: World, scene: VoxelSettings, seed: int, split: str) -> Drawn:
    """Every voxel of an independent material; targets are zero."""

    def build(volume: Volume, rng: Generator) -> AbsPassiveGenerator:
        return VoxelPassiveGenerator(volume, scene.materials, rng)

    return draw_scenes(world, build, scene.volumes, seed, split)


def random_block(world: World, scene: RandomBlockSettings, seed: int, split: str) -> Drawn:
    """A block in a background; targets are the radiation lengths of the blocks [m]."""

    def build(volume: Volume, rng: Generator) -> AbsPassiveGenerator:
        return RandomBlockPassiveGenerator(
            volume, scene.block, scene.sort_x0, scene.different, scene.half, scene.materials, rng
        )

    return draw_scenes(world, build, scene.volumes, seed, split)


def block_present(world: World, scene: BlockPresentSettings, seed: int, split: str) -> Drawn:
    """A block that may be of the background; targets are radiation lengths of the blocks [m]."""

    def build(volume: Volume, rng: Generator) -> AbsPassiveGenerator:
        return BlockPresentPassiveGenerator(volume, scene.block, scene.half, scene.materials, rng)

    return draw_scenes(world, build, scene.volumes, seed, split)


def u_lorry(world: World, scene: ULorrySettings, seed: int, split: str) -> Drawn:
    """Lorries; targets are 1 with uranium and 0 without."""
    floor = find_material(scene.floor_material).x0

    def build(volume: Volume, rng: Generator) -> AbsPassiveGenerator:
        numbers = (scene.uranium, scene.probability, scene.fill, floor)
        return ULorryPassiveGenerator(volume, *numbers, scene.materials, rng)

    return draw_scenes(world, build, scene.volumes, seed, split)


def cargo(world: World, scene: CargoSettings, seed: int, split: str) -> Drawn:
    """Cargoes; targets are 1 with a threat and 0 without."""

    def build(volume: Volume, rng: Generator) -> AbsPassiveGenerator:
        return RandomCargoPassiveGenerator(
            volume, scene.load, scene.probability, scene.materials, scene.longest, rng
        )

    return draw_scenes(world, build, scene.volumes, seed, split)


def small_walls(world: World, scene: SmallWallsSettings, seed: int, split: str) -> Drawn:
    """Walls in soil; targets are grids with 1 where there is wall."""

    def build(volume: Volume, rng: Generator) -> AbsPassiveGenerator:
        return SmallWallsPassiveGenerator(
            volume, scene.x0_soil or X0_SOIL, scene.x0_wall or X0_WALL,
            scene.stop_k, scene.turn_k, scene.min_length, scene.min_height, rng,
        )  # fmt: skip

    return draw_scenes(world, build, scene.volumes, seed, split)


def boxes(
    world: World, scene: BoxesSettings | LeadInBerylliumSettings, _seed: int, _split: str
) -> Drawn:
    """Boxes in a background, the same in every volume; targets are zero.

    Raises:
        UserError: a material is not known, or a box is off the grid or leaves it.
    """
    grid = torch.full(world.shape, find_material(scene.background).x0, dtype=torch.float64)
    for number, box in enumerate(scene.boxes):
        grid[_voxels(box, world, f"boxes[{number}]")] = find_material(box.material).x0
    volumes = grid.repeat(scene.volumes, 1, 1, 1)
    return volumes, torch.zeros(scene.volumes, dtype=torch.float64)


def _voxels(box: Box, world: World, what: str) -> tuple[slice, slice, slice]:
    bottoms = (0.0, 0.0, world.passive[0])
    ends = [
        [border_index(z, low, world.voxel, what) for z, low in zip(corner, bottoms, strict=True)]
        for corner in (box.low, box.high)
    ]
    n_z, n_x, n_y = world.shape
    check_inside(ends[0], ends[1], (n_x, n_y, n_z), what)
    x, y, z = (slice(low, high) for low, high in zip(*ends, strict=True))
    return z, x, y


FAMILIES: dict[str, Callable[..., Drawn]] = {
    "voxel": voxel,
    "random_block": random_block,
    "block_present": block_present,
    "u_lorry": u_lorry,
    "cargo": cargo,
    "small_walls": small_walls,
    "boxes": boxes,
    "lead_in_beryllium": boxes,
}
"""Maker of each kind of scene settings but the ladle's."""
