"""Families of objects: X0 grids and targets, drawn once with a seed.

A scene is a pure function of world, settings, seed, split and number of the volume, so that it can
be stored and made again (D-28).
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.input_files import read_planned
from tomopt_tasks.materials import find_material
from tomopt_tasks.volume import cubes
from tomopt_tasks.volume.families import FAMILIES
from tomopt_tasks.volume.grid import border_index, whole_voxels
from tomopt_tasks.volume.grid_files import check_grids, read_grids
from tomopt_tasks.volume.own_scene import own_scene
from tomopt_tasks.volume.scene_settings import FileSceneSettings, SceneSettings
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World
from tomopt_tasks.volume.varied import varied_ladles

Scene = tuple[Float[Tensor, "vol z x y"], Float[Tensor, "vol ..."]]


def make_scene(world: World, scene: SceneSettings, seed: int, split: str) -> Scene:
    """X0 grids [m] and targets of all volumes of a family.

    Args:
        world: the box of the passive volume.
        scene: which family, with its settings.
        seed: seed of the scenes.
        split: name of the set of volumes; names the random streams of random families.

    Raises:
        UserError: a length is off the grid, or a part does not fit.
    """
    return MAKERS[scene.kind](world, scene, seed, split)


def ladle_furnace(world: World, scene: LadleFurnaceSettings, seed: int, split: str) -> Scene:
    """Steel ladles at each fill height in turn, ``per_height`` times; targets are the heights.

    Floor, fill, slag and air are whole layers, so that the label is the height that is really
    there (D-41); the outer ring of every layer is wall. With ``vary`` see ``varied_ladles``.
    """
    if scene.vary is not None:
        return varied_ladles(world, scene, scene.vary, seed, split)
    n_z = world.shape[0]
    wall = scene.wall_x0 or find_material(scene.wall_material).x0
    names = (scene.fill_material, scene.slag_material, "air")
    fill, slag, air = (find_material(name).x0 for name in names)
    x0s = (wall, fill, slag, air)
    n_slag = whole_voxels(scene.slag, world.voxel, "scene.slag")
    grids = []
    for i, height in enumerate(scene.heights):
        n_full = border_index(height, world.passive[0], world.voxel, f"scene.heights[{i}]")
        if n_full < 2 or n_full + n_slag > n_z:
            low, high = world.passive[0] + 2 * world.voxel, world.passive[1] - n_slag * world.voxel
            msg = (
                f"scene.heights[{i}]: a ladle filled to {height} m does not fit; heights go from "
                f"{low:.6g} m (one layer above the floor) to {high:.6g} m (slag below the top)"
            )
            raise UserError(msg)
        grids.append(cubes.ladle(world.shape, n_full, n_slag, x0s))
    target = torch.tensor(scene.heights, dtype=torch.float64)
    return torch.stack(grids).repeat(scene.per_height, 1, 1, 1), target.repeat(scene.per_height)


def file_scene(world: World, scene: FileSceneSettings, _seed: int, _split: str) -> Scene:
    """Objects of a file; targets are zero where it has none or voxels are judged.

    Raises:
        UserError: see ``read_grids`` and ``check_grids``; or the file has changed.
    """
    grids = read_grids(scene.file, read_planned(scene))
    check_grids(grids, world)
    taken = slice(scene.first, None if scene.volumes is None else scene.first + scene.volumes)
    x0 = torch.from_numpy(grids.x0[taken].copy())
    if grids.target is None or scene.target == "voxels":
        return x0, x0.new_zeros(len(x0))
    return x0, torch.from_numpy(grids.target[taken].copy())


MAKERS: dict[str, Callable[..., Scene]] = {
    "ladle_furnace": ladle_furnace,
    "file": file_scene,
    "own": own_scene,
    **FAMILIES,
}
"""Maker of each kind of scene settings."""
