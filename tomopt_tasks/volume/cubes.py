"""Objects as grids of radiation lengths, in integer geometry.

Grids are (z, x, y) with z index 0 the lowest layer; boxes are half-open ranges of voxels. All
chance comes from the stream that is passed.
"""

from collections.abc import Sequence
from itertools import permutations, product

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from tomopt_tasks.core import UserError

Shape = tuple[int, int, int]
Triple = tuple[int, int, int]


def randint(low: int, high: int, rng: Generator) -> int:
    """A whole number in [low, high], both included."""
    return int(torch.randint(low, high + 1, (), generator=rng))


def pick_voxels(shape: Shape, x0s: Sequence[float], rng: Generator) -> Float[Tensor, "z x y"]:
    """Every voxel of an independent material."""
    index = torch.randint(len(x0s), shape, generator=rng)
    return torch.tensor(x0s, dtype=torch.float64)[index]


def orientations(sides: Triple, room: Triple) -> list[Triple]:
    """The different orders of three sides that fit into a room, sorted."""
    turns = {(x, y, z) for x, y, z in permutations(sides) if _fits((x, y, z), room)}
    return sorted(turns)


def boxes_of_volume(n_voxels: int, room: Triple) -> list[Triple]:
    """Sides (x, y, z) of all boxes of exactly this many voxels that fit into a room."""
    every = product(*(range(1, n + 1) for n in room))
    return [(x, y, z) for x, y, z in every if x * y * z == n_voxels]


def place(sides: Triple, low: Triple, high: Triple, rng: Generator) -> tuple[slice, slice, slice]:
    """A box somewhere in the room [low, high); every place is as likely, edges included (D-41).

    Args:
        sides: along x, y, z [voxels].
        low: first voxel of the room along x, y, z.
        high: one past its last voxel.
        rng: stream.

    Returns:
        Ranges along z, x, y: the index of a grid.

    Raises:
        UserError: the box is larger than the room (D-36).
    """
    room = tuple(b - a for a, b in zip(low, high, strict=True))
    if not _fits(sides, room):
        raise UserError(f"a box of {sides} voxels (x, y, z) does not fit into a room of {room}")
    first = [randint(a, b - side, rng) for a, b, side in zip(low, high, sides, strict=True)]
    x, y, z = (slice(a, a + side) for a, side in zip(first, sides, strict=True))
    return z, x, y


def layered(
    shape: Shape, layers: Sequence[float], wall: float | None = None
) -> Float[Tensor, "z x y"]:
    """Whole layers from the bottom up, inside an outer ring of wall if there is one."""
    column = torch.tensor(layers, dtype=torch.float64)[:, None, None]
    cube = column.repeat(1, *shape[1:])
    if wall is not None:
        for ring in (cube[:, 0], cube[:, -1], cube[:, :, 0], cube[:, :, -1]):
            ring.fill_(wall)
    return cube


def ladle(
    shape: Shape, n_full: int, n_slag: int, x0s: tuple[float, float, float, float]
) -> Float[Tensor, "z x y"]:
    """A ladle: floor and wall, ``n_full`` layers with the floor, then slag, then air.

    Args:
        shape: of the grid.
        n_full: layers below the fill height, the floor included.
        n_slag: layers of slag.
        x0s: of wall, fill, slag and air [m].
    """
    wall, fill, slag, air = x0s
    n_air = shape[0] - n_full - n_slag
    layers = [wall] + [fill] * (n_full - 1) + [slag] * n_slag + [air] * n_air
    return layered(shape, layers, wall)


DIRECTIONS = ((0, 1), (1, 0), (0, -1), (-1, 0))
"""Steps in x and y of a wall; turning right is the next one."""


def walls(
    shape: Shape, *, stop_k: float, turn_k: float, min_length: int, min_height: int, rng: Generator
) -> Int[Tensor, "z x y"]:
    """One to four buried walls on one ground level, 1 where there is wall.

    A wall walks over the grid, voxel by voxel. From ``min_length`` voxels on it stops with the
    probability exp(-stop_k / length); it turns to either side with exp(-turn_k / length since the
    last turn); it stops where it meets a wall or leaves the grid.

    Args:
        shape: of the grid.
        stop_k: see above.
        turn_k: see above.
        min_length: shortest wall that stops by itself [voxels].
        min_height: lowest wall [voxels].
        rng: stream.

    Raises:
        UserError: walls of ``min_height`` do not fit.
    """
    n_z = shape[0]
    if not 1 <= min_height < n_z:
        msg = (
            f"min_height = {min_height} voxels; walls must have 1 to {n_z - 1} (one below the top)"
        )
        raise UserError(msg)
    grid = torch.zeros(shape, dtype=torch.int64)
    ground = randint(0, max(0, min(n_z // 2, n_z - min_height) - 1), rng)
    for _ in range(randint(1, 4, rng)):
        top = randint(ground + min_height, n_z - 1, rng)
        _build_wall(grid, slice(ground, top), (stop_k, turn_k, min_length), rng)
    return grid


def _build_wall(
    grid: Int[Tensor, "z x y"], heights: slice, rule: tuple[float, float, int], rng: Generator
) -> None:
    """Adds one wall to the grid of ``walls``, which is its own."""
    stop_k, turn_k, min_length = rule
    n_x, n_y = grid.shape[1:]
    x, y = randint(0, n_x - 1, rng), randint(0, n_y - 1, rng)
    inward = [k for k, (dx, dy) in enumerate(DIRECTIONS) if 0 <= x + dx < n_x and 0 <= y + dy < n_y]
    way = inward[randint(0, len(inward) - 1, rng)] if inward else 0
    length = straight = 0
    while 0 <= x < n_x and 0 <= y < n_y and not bool(grid[:, x, y].any()):
        grid[heights, x, y] = 1
        length, straight = length + 1, straight + 1
        if length >= min_length and _happens(stop_k / length, rng):
            break
        if _happens(turn_k / straight, rng):
            way, straight = (way + (1 if randint(0, 1, rng) else -1)) % 4, 0
        x, y = x + DIRECTIONS[way][0], y + DIRECTIONS[way][1]


def _happens(exponent: float, rng: Generator) -> bool:
    """With probability exp(-exponent)."""
    chance = torch.exp(torch.tensor(-exponent, dtype=torch.float64))
    return bool(torch.rand((), generator=rng, dtype=torch.float64) < chance)


def _fits(sides: Sequence[int], room: Sequence[int]) -> bool:
    return all(1 <= side <= n for side, n in zip(sides, room, strict=True))
