"""Objects of the user's own: a class that draws them, or a generator of the notebook interface."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.own import build_own, own_class
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.families import passive_volume
from tomopt_tasks.volume.passives import AbsPassiveGenerator
from tomopt_tasks.volume.scene_settings import OwnSceneSettings
from tomopt_tasks.volume.settings import World

Object = tuple[Float[Tensor, "z x y"], Any]


def own_scene(
    world: World, scene: OwnSceneSettings, seed: int, split: str
) -> tuple[Float[Tensor, "vol z x y"], Float[Tensor, "vol ..."]]:
    """X0 grids [m] and targets of all volumes, each from a stream of its own.

    The class is called with ``world`` and ``rng`` once a volume and gives the radiation lengths
    [m] in (z, x, y), or a pair of these and a target. A subclass of ``AbsPassiveGenerator`` is made
    with a volume instead, and asked for ``get_data()``.

    Args:
        world: the box of the passive volume.
        scene: which class, with its options.
        seed: seed of the scenes.
        split: name of the set of volumes; names the streams.

    Raises:
        UserError: the class cannot be made or called, or what it gives is no such object.
    """
    rngs = [stream(seed, "scene", split, number) for number in range(scene.volumes)]
    objects = [checked(world, scene, draw(world, scene, rng)) for rng in rngs]
    grids, targets = zip(*objects, strict=True)
    return torch.stack(grids), torch.tensor(targets, dtype=torch.float64)


def draw(world: World, scene: OwnSceneSettings, rng: Generator) -> Any:
    """What the class gives for one volume.

    Raises:
        UserError: it cannot be made with its options, or not be called.
    """
    made = own_class(scene)
    generator = isinstance(made, type) and issubclass(made, AbsPassiveGenerator)
    if not generator:
        part = build_own(scene)
        try:
            return part(world=world, rng=rng)
        except TypeError as error:
            raise UserError(
                f"{scene.part} cannot be called with world and rng: {error}; write "
                "def __call__(self, world, rng)"
            ) from error
    volume = passive_volume(world)
    part = build_own(scene, volume)
    part.rng = rng
    layout, target = part.get_data()
    volume.load_rad_length(layout)
    return volume.get_rad_cube().clone(), target


def checked(world: World, scene: OwnSceneSettings, given: Any) -> tuple[Tensor, float]:
    """The grid in double precision and its target; zero where there is none.

    Raises:
        UserError: another shape, lengths that are not positive, or a target that is no number.
    """
    x0, target = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
    try:
        grid = torch.as_tensor(x0, dtype=torch.float64).detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{scene.part}: the radiation lengths are no array: {error}") from error
    if tuple(grid.shape) != world.shape:
        raise UserError(
            f"{scene.part}: radiation lengths of the shape {tuple(grid.shape)}, but the world has "
            f"{world.shape} voxels (z, x, y); make one of world.shape"
        )
    if not bool((grid > 0).all()):
        raise UserError(
            f"{scene.part}: radiation lengths must be > 0 m (infinite for vacuum), but the "
            f"smallest is {float(grid.min())}; use those of tomopt_tasks.materials"
        )
    if scene.target == "voxels":
        return grid, 0.0
    try:
        number = float(torch.as_tensor(target, dtype=torch.float64))
    except (TypeError, ValueError, RuntimeError):
        number = float("nan")
    if not math.isfinite(number):
        raise UserError(
            f"{scene.part}: the target is {target!r}, but it must be one finite number; give "
            "(x0, target), or write target: voxels if only radiation lengths count"
        )
    return grid, number
