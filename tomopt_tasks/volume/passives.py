"""Generators of objects for notebooks, and the lists of objects that a fit scans (spec 7)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Generator, Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0, find_material
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.layer import RadLengthFunc
from tomopt_tasks.volume.volume import Volume

Passive = tuple[RadLengthFunc, Any]


@dataclass(frozen=True, eq=False)
class Layout:
    """A stored grid that can be loaded layer by layer; the same at every call (D-28)."""

    x0: Float[Tensor, "z x y"]
    """[m]"""
    z_low: float
    """Bottom [m]."""
    voxel: float
    """Edge of a voxel [m]."""

    def __call__(
        self,
        *,
        z: Tensor | float,
        lw: Tensor | None = None,  # noqa: ARG002  (part of the protocol)
        size: float | None = None,
    ) -> Float[Tensor, "x y"]:
        """The layer with its top at ``z`` [m].

        Raises:
            UserError: there is no such layer, or its voxels have another size.
        """
        position = (float(z) - self.z_low) / self.voxel
        layer = round(position) - 1
        if not 0 <= layer < len(self.x0) or abs(position - round(position)) > 1e-3:
            top = self.z_low + len(self.x0) * self.voxel
            msg = (
                f"no layer of this layout has its top at z = {float(z):.6g} m; it goes from "
                f"{self.z_low:.6g} to {top:.6g} m in steps of {self.voxel:.6g} m"
            )
            raise UserError(msg)
        if size is not None and abs(size - self.voxel) > 1e-6 * self.voxel:
            raise UserError(f"this layout has voxels of {self.voxel} m, the layer of {size} m")
        return self.x0[layer]


class AbsPassiveGenerator:
    """Draws objects that fit into a volume.

    Args:
        volume: gives the grid, the precision and the device.
        materials: names of the materials to draw from; None: the 23 of the benchmarks.
        rng: the stream to draw from; None: one that depends on nothing (D-48).

    Raises:
        UserError: a material is not known.
    """

    def __init__(
        self, volume: Volume, materials: Sequence[str] | None = None, rng: Generator | None = None
    ) -> None:
        self.volume = volume
        self.materials = list(X0) if materials is None else list(materials)
        self.x0s = [find_material(name).x0 for name in self.materials]
        self.rng = stream(0, "passives", type(self).__name__) if rng is None else rng
        self.shape = volume.shape
        self.size = volume.passive_size

    @property
    def device(self) -> torch.device:
        """Where the volume lives."""
        return self.volume.device

    @property
    def lw(self) -> NDArray[Any]:
        """Length and width [m]."""
        lw: NDArray[Any] = self.volume.lw.cpu().numpy()
        return lw

    @property
    def z_range(self) -> list[float]:
        """Bottom and top of the passive volume [m]."""
        return [float(z) for z in self.volume.get_passive_z_range()]

    def generate(self) -> RadLengthFunc:
        """The layout of a new object."""
        return self._generate()[0]

    def get_data(self) -> Passive:
        """The layout of a new object, and its target."""
        return self._generate()

    def _generate(self) -> Passive:
        """The layout of a new object, and its target or None: what subclasses provide."""
        raise NotImplementedError(f"{type(self).__name__} needs a method _generate() of its own")

    def _layout(self, cube: Float[Tensor, "z x y"]) -> Layout:
        return Layout(cube.to(self.volume.lw), self.z_range[0], self.size)

    def _pick_x0(self) -> float:
        return self.x0s[int(torch.randint(len(self.x0s), (), generator=self.rng))]

    def _target(self, value: float) -> Float[Tensor, "1"]:
        return self.volume.lw.new_tensor([value])


class PassiveYielder:
    """The objects of one epoch: a list in a new order each time, or new draws of a generator.

    The caller's list is never changed (D-31).

    Args:
        passives: layouts or (layout, target) pairs, or a generator of objects.
        n_passives: draws in an epoch; needed for a generator, ignored for a list.
        shuffle: whether a list comes in a new order each time.
        rng: the stream of the order; None: one that depends on nothing.

    Raises:
        ValueError: a generator without a number of draws.
    """

    def __init__(
        self,
        passives: Sequence[Any] | AbsPassiveGenerator,
        n_passives: int | None = None,
        shuffle: bool = True,  # noqa: FBT001, FBT002  (the published signature)
        rng: Generator | None = None,
    ) -> None:
        self.shuffle = shuffle
        self.rng = stream(0, "passive yielder") if rng is None else rng
        self.passives: tuple[Any, ...] | AbsPassiveGenerator
        if isinstance(passives, AbsPassiveGenerator):
            if n_passives is None or n_passives < 1:
                msg = (
                    f"n_passives = {n_passives}; a generator needs the number of draws in an epoch"
                )
                raise ValueError(msg)
            self.passives, self.n_passives = passives, n_passives
        else:
            self.passives = tuple(passives)
            self.n_passives = len(self.passives)

    def __len__(self) -> int:
        """Objects in an epoch."""
        return self.n_passives

    def __iter__(self) -> Iterator[Passive]:
        """Layouts with their targets, or None."""
        if isinstance(self.passives, AbsPassiveGenerator):
            for _ in range(self.n_passives):
                yield self.passives.get_data()
            return
        order = list(range(len(self.passives)))
        if self.shuffle:
            order = torch.randperm(len(self.passives), generator=self.rng).tolist()
        for index in order:
            passive = self.passives[index]
            yield passive if isinstance(passive, tuple) else (passive, None)

    def in_order(self) -> "PassiveYielder":
        """The same objects in the order of the list."""
        return PassiveYielder(self.passives, self.n_passives, shuffle=False, rng=self.rng)
