"""Generators of the benchmarks: ladle furnace, uranium in a lorry, small walls (spec 7)."""

from collections.abc import Sequence

import torch
from torch import Generator

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import DENSITIES, X0, find_material, x0_from_mixture
from tomopt_tasks.volume import cubes
from tomopt_tasks.volume.grid import whole_voxels
from tomopt_tasks.volume.passives import AbsPassiveGenerator, Passive
from tomopt_tasks.volume.volume import Volume


def _mixture(**parts: float) -> float:
    names = {name.replace("_", " "): part for name, part in parts.items()}
    x0s, densities = [X0[name] for name in names], [DENSITIES[name] for name in names]
    return x0_from_mixture(x0s, densities, volume_fracs=list(names.values()))["X0"]


X0_SOIL = _mixture(SiO2=0.44, soft_tissue=0.06, water=0.25, air=0.25)
"""Soil [m]: 0.2256. TomOpt has 0.6 instead of 0.06, so that the parts do not add up: 0.2624."""

X0_WALL = _mixture(SiO2=56.0, Al2O3=17.0, Fe2O3=11.2, MgO=4.0, CaO=4.2, Na2O=3.0, K2O=4.6)
"""Brick [m]: 0.0802."""


class LadleFurnacePassiveGenerator(AbsPassiveGenerator):
    """Steel ladles, filled to a random height, slag on top, then air.

    Everything is in whole layers; the target is the fill height that is really there [m] (D-41).

    Args:
        volume: gives the grid.
        x0_furnace: radiation length of floor and wall [m].
        fill_material: name of the material below the fill height.
        slag_material: name of the material of the slag.
        rng: the stream to draw from.
    """

    def __init__(
        self,
        volume: Volume,
        x0_furnace: float = X0["steel"],
        fill_material: str = "hot liquid steel",
        slag_material: str = "slag",
        rng: Generator | None = None,
    ) -> None:
        super().__init__(volume, [fill_material, slag_material], rng)
        self.x0_furnace = x0_furnace
        self.fill_material, self.slag_material = fill_material, slag_material
        if self.shape[0] < 3:
            raise UserError(f"a ladle needs at least 3 layers, the volume has {self.shape[0]}")

    def _generate(
        self, fixed_mat_z: float | None = None, fixed_slag_z: float | None = None
    ) -> Passive:
        """A ladle filled to ``fixed_mat_z`` with slag up to ``fixed_slag_z`` [m], rounded down."""
        n_z = self.shape[0]
        n_full = (
            cubes.randint(2, n_z - 1, self.rng)
            if fixed_mat_z is None
            else self._layers(fixed_mat_z)
        )
        n_top = (
            cubes.randint(n_full, n_z, self.rng)
            if fixed_slag_z is None
            else self._layers(fixed_slag_z)
        )
        if not 1 <= n_full <= n_top <= n_z:
            low, high = self.z_range
            msg = (
                f"a ladle filled to {fixed_mat_z} m with slag up to {fixed_slag_z} m does not fit; "
                f"heights must rise from {low + self.size:.6g} m to {high:.6g} m"
            )
            raise UserError(msg)
        x0s = (self.x0_furnace, *self.x0s, X0["air"])
        cube = cubes.ladle(self.shape, n_full, n_top - n_full, (x0s[0], x0s[1], x0s[2], x0s[3]))
        return self._layout(cube), self._target(self.z_range[0] + n_full * self.size)

    def _layers(self, z: float) -> int:
        """Whole layers below a height."""
        return int((z - self.z_range[0]) / self.size + 1e-4)


class ULorryPassiveGenerator(AbsPassiveGenerator):
    """A lorry with an iron floor and a random load, with a box of uranium in it or not.

    The load reaches up to ``fill_frac`` of the height of the volume, in whole layers, air above;
    the box lies inside the load and has exactly the volume asked for (D-41).

    Args:
        volume: gives the grid.
        u_volume: of the uranium [m3]; a whole number of voxels.
        u_prob: probability of uranium.
        fill_frac: part of the height that is filled, the floor included.
        x0_lorry: radiation length of the floor [m].
        bkg_materials: names of the materials of the load; default: air and iron.
        rng: the stream to draw from.

    Raises:
        UserError: no box of this volume fits, or numbers out of range.
    """

    def __init__(
        self,
        volume: Volume,
        u_volume: float,
        u_prob: float = 0.5,
        fill_frac: float = 0.8,
        x0_lorry: float = X0["iron"],
        bkg_materials: Sequence[str] | None = None,
        rng: Generator | None = None,
    ) -> None:
        super().__init__(volume, ["air", "iron"] if bkg_materials is None else bkg_materials, rng)
        n_z, n_x, n_y = self.shape
        self.u_volume, self.u_prob, self.fill_frac = u_volume, u_prob, fill_frac
        self.x0_lorry = x0_lorry
        self.n_full = round(fill_frac * n_z)
        if not 2 <= self.n_full <= n_z:
            raise UserError(
                f"fill_frac = {fill_frac} leaves no load on the floor; need 2 layers or more"
            )
        if not 0.0 <= u_prob <= 1.0:
            raise UserError(f"u_prob = {u_prob} is no probability; use 0 to 1")
        n_voxels = whole_voxels(u_volume / self.size**2, self.size, "u_volume / voxel^2")
        self._boxes = cubes.boxes_of_volume(n_voxels, (n_x, n_y, self.n_full - 1))
        if not self._boxes:
            msg = (
                f"u_volume: no box of {u_volume} m3 ({n_voxels} voxels) fits into a load of "
                f"{(n_x, n_y, self.n_full - 1)} voxels (x, y, z)"
            )
            raise UserError(msg)

    def _generate(self) -> Passive:
        _, n_x, n_y = self.shape
        cube = torch.full(self.shape, X0["air"], dtype=torch.float64)
        cube[0] = self.x0_lorry
        cube[1 : self.n_full] = cubes.pick_voxels((self.n_full - 1, n_x, n_y), self.x0s, self.rng)
        present = bool(torch.rand((), generator=self.rng) < self.u_prob)
        if present:
            sides = self._boxes[cubes.randint(0, len(self._boxes) - 1, self.rng)]
            box = cubes.place(sides, (0, 0, 1), (n_x, n_y, self.n_full), self.rng)
            cube[box] = find_material("uranium").x0
        return self._layout(cube), torch.tensor([int(present)], device=self.device)


class SmallWallsPassiveGenerator(AbsPassiveGenerator):
    """One to four walls buried in soil; target: the grid with 1 where there is wall.

    Args:
        volume: gives the grid.
        x0_soil: radiation length of the soil [m]; TomOpt has 0.262425.
        x0_wall: radiation length of the walls [m].
        stop_k: the larger, the longer the walls.
        turn_k: the larger, the straighter the walls.
        min_length: shortest wall that stops by itself [voxels].
        min_height: lowest wall [voxels].
        rng: the stream to draw from.
    """

    def __init__(
        self,
        volume: Volume,
        x0_soil: float = X0_SOIL,
        x0_wall: float = X0_WALL,
        stop_k: float = 10,
        turn_k: float = 5,
        min_length: int = 4,
        min_height: int = 4,
        rng: Generator | None = None,
    ) -> None:
        super().__init__(volume, [], rng)
        self.x0_soil, self.x0_wall = x0_soil, x0_wall
        self.stop_k, self.turn_k = stop_k, turn_k
        self.min_length, self.min_height = min_length, min_height

    def _generate(self) -> Passive:
        grid = cubes.walls(
            self.shape,
            stop_k=self.stop_k,
            turn_k=self.turn_k,
            min_length=self.min_length,
            min_height=self.min_height,
            rng=self.rng,
        )
        x0s = torch.tensor([self.x0_soil, self.x0_wall], dtype=torch.float64)
        return self._layout(x0s[grid]), grid.to(self.device)
