"""Ladles that differ from each other: fill height, slag and wall anywhere, not on voxel borders.

A voxel that holds several materials has the mean of their inverse radiation lengths, weighted by
volume, so that the material that a muon crosses is right on average.
"""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.materials import find_material
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.settings import LadleFurnaceSettings, LadleVariation, World


def varied_ladles(
    world: World, scene: LadleFurnaceSettings, vary: LadleVariation, seed: int, split: str
) -> tuple[Float[Tensor, "vol z x y"], Float[Tensor, " vol"]]:
    """X0 grids [m] and fill heights [m]; one stream a volume.

    Args:
        world: the box of the passive volume.
        scene: heights, number of volumes and materials.
        vary: what differs from ladle to ladle.
        seed: seed of the scenes.
        split: names the streams.
    """
    n_volumes = scene.n_volumes
    draws = torch.stack([_uniform(seed, split, number) for number in range(n_volumes)])
    target = _heights(scene, vary, draws[:, 0])
    slag = _between(vary.slag or (scene.slag, scene.slag), draws[:, 1])
    wall = _between(vary.wall or (world.voxel, world.voxel), draws[:, 2])
    grids = [
        ladle_grid(world, scene, (float(h), float(s), float(w)))
        for h, s, w in zip(target, slag, wall, strict=True)
    ]
    return torch.stack(grids), target


def ladle_grid(
    world: World, scene: LadleFurnaceSettings, lengths: tuple[float, float, float]
) -> Float[Tensor, "z x y"]:
    """Radiation lengths of one ladle [m].

    Args:
        world: the box of the passive volume.
        scene: names the materials.
        lengths: fill height above the ground, thickness of the slag, thickness of wall and floor
            [m].
    """
    height, slag, wall = lengths
    names = (scene.fill_material, scene.slag_material, "air")
    x0_wall = scene.wall_x0 or find_material(scene.wall_material).x0
    low, high = world.passive
    borders = (low + wall, height, height + slag, high)
    inside = torch.zeros(world.shape[0], dtype=torch.float64)
    for name, span in zip(names, pairwise(borders), strict=True):
        share = filled(world.shape[0], low, world.voxel, span)
        inside = inside + share / find_material(name).x0
    floor = filled(world.shape[0], low, world.voxel, (low, low + wall))
    inside = inside + floor / x0_wall
    nx, ny = world.shape[1:]
    across = filled(nx, 0.0, world.voxel, (wall, world.size[0] - wall))
    along = filled(ny, 0.0, world.voxel, (wall, world.size[1] - wall))
    open_share = across[:, None] * along[None, :]
    inverse = inside[:, None, None] * open_share + (1.0 - open_share) / x0_wall
    return 1.0 / inverse


def filled(n: int, low: float, size: float, span: tuple[float, float]) -> Float[Tensor, " cell"]:
    """Share of each of n cells that lies within a span.

    Args:
        n: number of cells.
        low: start of the first cell [m].
        size: of a cell [m].
        span: [m].
    """
    edges = (torch.arange(n + 1, dtype=torch.float64) + low / size) * size
    start = torch.clamp(edges[:-1], min=span[0])
    stop = torch.clamp(edges[1:], max=span[1])
    return torch.clamp((stop - start) / size, 0.0, 1.0)


def _uniform(seed: int, split: str, number: int) -> Float[Tensor, "3"]:
    return torch.rand(3, generator=stream(seed, "ladle", split, number), dtype=torch.float64)


def _heights(
    scene: LadleFurnaceSettings, vary: LadleVariation, draw: Float[Tensor, " vol"]
) -> Float[Tensor, " vol"]:
    """One height in each of as many equal parts as there are volumes, or those of the scene."""
    if not vary.heights:
        heights = torch.tensor(scene.heights, dtype=torch.float64)
        return heights.repeat(scene.per_height)
    parts = (torch.arange(len(draw), dtype=torch.float64) + draw) / len(draw)
    return _between((scene.heights[0], scene.heights[-1]), parts)


def _between(limits: tuple[float, float], draw: Float[Tensor, " vol"]) -> Float[Tensor, " vol"]:
    return limits[0] + (limits[1] - limits[0]) * draw
