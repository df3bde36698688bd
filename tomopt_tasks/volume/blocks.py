"""Generators of random voxels and of blocks in a background (spec 7)."""

from collections.abc import Sequence

import torch
from torch import Generator

from tomopt_tasks.core import UserError
from tomopt_tasks.volume import cubes
from tomopt_tasks.volume.grid import whole_voxels
from tomopt_tasks.volume.passives import AbsPassiveGenerator, Passive
from tomopt_tasks.volume.volume import Volume


class VoxelPassiveGenerator(AbsPassiveGenerator):
    """Every voxel of an independent material; no target."""

    def _generate(self) -> Passive:
        return self._layout(cubes.pick_voxels(self.shape, self.x0s, self.rng)), None


class AbsBlockPassiveGenerator(AbsPassiveGenerator):
    """Blocks of whole voxels inside the volume.

    Args:
        volume: gives the grid.
        block_size: sides [m], whole numbers of voxels, turned at random; None: random sides.
        block_size_max_half: whether random sides reach up to half of the volume only.
        materials: names of the materials; None: the 23 of the benchmarks.
        rng: the stream to draw from.

    Raises:
        ValueError: random sides without ``block_size_max_half``.
        UserError: sides that are no whole voxels, or fit in no orientation (D-36).
    """

    def __init__(
        self,
        volume: Volume,
        block_size: Sequence[float] | None,
        block_size_max_half: bool | None = None,  # noqa: FBT001  (the published signature)
        materials: Sequence[str] | None = None,
        rng: Generator | None = None,
    ) -> None:
        super().__init__(volume, materials, rng)
        if block_size is None and block_size_max_half is None:
            raise ValueError("block_size is None: say with block_size_max_half how large sides get")
        self.block_size, self.block_size_max_half = block_size, block_size_max_half
        n_z, n_x, n_y = self.shape
        self._room = (n_x, n_y, n_z)
        self._turns = [] if block_size is None else self._orientations(block_size)

    def _orientations(self, block_size: Sequence[float]) -> list[cubes.Triple]:
        x, y, z = (
            whole_voxels(side, self.size, f"block_size[{axis}]")
            for axis, side in enumerate(block_size)
        )
        turns = cubes.orientations((x, y, z), self._room)
        if not turns:
            msg = (
                f"block_size: a block of {list(block_size)} m fits into the volume of "
                f"{self._room} voxels (x, y, z) in no orientation; make it smaller"
            )
            raise UserError(msg)
        return turns

    def _block(self) -> tuple[slice, slice, slice]:
        """A new block: its ranges of voxels along z, x, y."""
        if self._turns:
            sides = self._turns[cubes.randint(0, len(self._turns) - 1, self.rng)]
        else:
            part = 2 if self.block_size_max_half else 1
            x, y, z = (cubes.randint(1, max(1, n // part), self.rng) for n in self._room)
            sides = (x, y, z)
        return cubes.place(sides, (0, 0, 0), self._room, self.rng)

    def _scene(self, background: float, block: float) -> Passive:
        cube = torch.full(self.shape, background, dtype=torch.float64)
        cube[self._block()] = block
        return self._layout(cube), self._target(block)


class RandomBlockPassiveGenerator(AbsBlockPassiveGenerator):
    """A block of a random material in a random background; target: its radiation length [m].

    Args:
        volume: gives the grid.
        block_size: see the base class.
        sort_x0: whether the block has the lower radiation length of the two.
        enforce_diff_mat: whether the two materials differ.
        block_size_max_half: see the base class.
        materials: see the base class.
        rng: the stream to draw from.

    Raises:
        ValueError: materials that cannot differ.
    """

    def __init__(
        self,
        volume: Volume,
        block_size: Sequence[float] | None,
        sort_x0: bool,  # noqa: FBT001  (the published signature)
        enforce_diff_mat: bool,  # noqa: FBT001
        block_size_max_half: bool | None = None,  # noqa: FBT001
        materials: Sequence[str] | None = None,
        rng: Generator | None = None,
    ) -> None:
        super().__init__(volume, block_size, block_size_max_half, materials, rng)
        self.sort_x0, self.enforce_diff_mat = sort_x0, enforce_diff_mat
        if enforce_diff_mat and len(set(self.x0s)) < 2:
            raise ValueError(f"materials {self.materials} cannot differ; give at least two")

    def _generate(self) -> Passive:
        background, block = self._pick_x0(), self._pick_x0()
        while self.enforce_diff_mat and background == block:
            background, block = self._pick_x0(), self._pick_x0()
        if self.sort_x0:
            block, background = sorted((block, background))
        return self._scene(background, block)


class BlockPresentPassiveGenerator(AbsBlockPassiveGenerator):
    """A block of any of the materials in the first of them, so that it may be "absent".

    Target: the radiation length of the block [m].
    """

    def _generate(self) -> Passive:
        return self._scene(self.x0s[0], self._pick_x0())
