"""The box that everything happens in, and the families of objects inside it."""

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Flag, Length, NonNegativeLength, PositiveLength

TOLERANCE = 1e-6
"""How far from a whole number of voxels an extent may be, in voxels."""


class World(Config):
    """The passive volume, its voxels and the top of the zone above it; the floor is z = 0."""

    size: tuple[PositiveLength, PositiveLength] = (1.0, 1.0)
    """Extent of the passive volume in x and y [m]; > 0; a whole number of voxels."""
    passive: tuple[Length, Length] = (0.4, 1.4)
    """Bottom and top of the passive volume [m]; 0 <= bottom < top <= height."""
    voxel: PositiveLength = 0.1
    """Edge of a cubic voxel [m]; > 0."""
    height: PositiveLength = 1.8
    """Top of the world [m]; > 0; not below the top of the passive volume."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        low, high = self.passive
        if not 0.0 <= low < high:
            what = "got [{low}, {high}] m, but bottom and top must be ascending and not below 0 m;"
            what += " change them"
            raise PydanticCustomError(
                "passive", what, {"path": ("passive",), "low": low, "high": high}
            )
        if self.height < high - TOLERANCE * self.voxel:
            what = "got {height} m, which is below the top of the passive volume ({high} m); raise"
            what += " world.height or lower world.passive"
            raise PydanticCustomError(
                "height", what, {"path": ("height",), "height": self.height, "high": high}
            )
        for path, extent in ((("size", 0), self.size[0]), (("size", 1), self.size[1])):
            self._check_extent(path, extent)
        self._check_extent(("passive",), high - low)
        return self

    def _check_extent(self, path: tuple[str | int, ...], extent: float) -> None:
        n_voxels = extent / self.voxel
        if n_voxels < 1 - TOLERANCE or abs(n_voxels - round(n_voxels)) > TOLERANCE:
            what = "{extent} m is not a whole number of voxels of {voxel} m ({n}); change the"
            what += " extent or world.voxel"
            values = {"extent": f"{extent:.6g}", "voxel": self.voxel, "n": f"{n_voxels:.6g}"}
            raise PydanticCustomError("voxels", what, {"path": path, **values})

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (nz, nx, ny)."""
        low, high = self.passive
        lengths = (high - low, *self.size)
        n_z, n_x, n_y = (round(length / self.voxel) for length in lengths)
        return n_z, n_x, n_y


class LadleVariation(Config):
    """What differs from ladle to ladle; nothing needs to end on a border of voxels then."""

    heights: Flag = True
    """Fill heights anywhere between the first and the last of the scene, evenly spread."""
    slag: tuple[NonNegativeLength, NonNegativeLength] | None = None
    """Least and greatest thickness of the slag [m]; ascending; null: that of the scene."""
    wall: tuple[PositiveLength, PositiveLength] | None = None
    """Least and greatest thickness of wall and floor [m]; > 0, ascending; null: one voxel."""


class LadleFurnaceSettings(Config):
    """A steel ladle, filled with liquid steel to a known height, slag on top, air above.

    The floor is the lowest layer of voxels, the wall the outer ring. Target: the fill height [m].
    """

    kind: Literal["ladle_furnace"] = "ladle_furnace"
    """Name of this family."""
    heights: tuple[Length, ...] = Field(
        default=(0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3), min_length=1
    )
    """Fill heights z [m]; ascending, on voxel borders, above the floor layer."""
    per_height: Count = 5
    """Volumes for each height; >= 1."""
    slag: NonNegativeLength = 0.1
    """Thickness of the slag [m]; >= 0; a whole number of voxels."""
    fill_material: str = "hot liquid steel"
    """Material below the fill height (a name of the material table)."""
    slag_material: str = "slag"
    """Material of the slag (a name of the material table)."""
    wall_material: str = "steel"
    """Material of floor and wall (a name of the material table)."""
    wall_x0: PositiveLength | None = None
    """Radiation length of floor and wall [m]; > 0; null: that of ``wall_material``."""
    vary: LadleVariation | None = None
    """What differs from ladle to ladle; null: only the heights, in the steps of ``heights``."""

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return len(self.heights) * self.per_height
