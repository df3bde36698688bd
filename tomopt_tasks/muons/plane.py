"""The horizontal rectangle on which muons start."""

from dataclasses import dataclass
from math import pi, tan
from typing import Protocol, runtime_checkable

from tomopt_tasks.core import UserError
from tomopt_tasks.muons.settings import GenerationPlane

REACH = pi / 12.0
"""Muons at up to this zenith angle reach the whole bottom of the passive volume [rad]."""


@runtime_checkable
class Box(Protocol):
    """The part of a world that aiming needs; ``volume.settings.World`` fits."""

    @property
    def size(self) -> tuple[float, float]:
        """Extent in x and y [m]."""

    @property
    def passive(self) -> tuple[float, float]:
        """Bottom and top [m]."""

    @property
    def voxel(self) -> float:
        """Edge of a voxel [m]."""

    @property
    def height(self) -> float:
        """Top of the world [m]."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A rectangle at one height."""

    z: float
    low: tuple[float, float]
    high: tuple[float, float]

    @property
    def area(self) -> float:
        """[m2]."""
        return (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])


def default_margin(drop: float, voxel: float, angle: float = REACH) -> float:
    """How far muons start outside the passive volume: ``tan(angle) * (drop + voxel)``.

    ``drop`` is the height of the plane above the bottom of the volume. The sign of the voxel is
    that of the spec; one voxel less would reach as far (D-37, harmless).
    """
    return tan(angle) * (drop + voxel)


def resolve_plane(plane: GenerationPlane | None, world: Box) -> Plane:
    """The plane of the settings, with the defaults filled in.

    Raises:
        UserError: the plane lies below the top of the passive volume.
    """
    z = world.height if plane is None or plane.z is None else plane.z
    if z < world.passive[1] - 1e-9:
        msg = (
            f"muons.plane.z: {z} m lies below the top of the passive volume "
            f"({world.passive[1]} m); raise the plane or lower the passive volume"
        )
        raise UserError(msg)
    margin = None if plane is None else plane.margin
    if margin is None:
        margin = default_margin(z - world.passive[0], world.voxel)
    return Plane(z, (-margin, -margin), (world.size[0] + margin, world.size[1] + margin))
