"""Families of objects that a study can name by ``kind``."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.input_files import InputFile
from tomopt_tasks.own import OwnPart
from tomopt_tasks.quantities import (
    Count,
    Flag,
    Fraction,
    Length,
    Natural,
    PositiveLength,
    PositiveNumber,
    PositiveVolume,
    Probability,
)
from tomopt_tasks.volume.settings import LadleFurnaceSettings

Point = tuple[Length, Length, Length]
Sides = tuple[PositiveLength, PositiveLength, PositiveLength]


class _Drawn(Config):
    volumes: Count = 40
    """Number of volumes; >= 1."""

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return self.volumes


class VoxelSettings(_Drawn):
    """Every voxel of an independent material; for radiation lengths of voxels only."""

    kind: Literal["voxel"] = "voxel"
    """Name of this family."""
    materials: tuple[str, ...] | None = None
    """Materials to draw from (names of the material table); null: the 23 of the benchmarks."""


class _Block(_Drawn):
    block: Sides | None = None
    """Sides of the block, turned at random [m]; > 0; whole numbers of voxels; null: random."""
    half: Flag = True
    """Random sides reach up to half of the volume only."""
    materials: tuple[str, ...] | None = Field(default=None, min_length=2)
    """Materials to draw from (names of the material table); null: the 23 of the benchmarks."""


class RandomBlockSettings(_Block):
    """A block of a random material in a random background; target: its radiation length [m]."""

    kind: Literal["random_block"] = "random_block"
    """Name of this family."""
    sort_x0: Flag = True
    """The block is the denser of the two."""
    different: Flag = True
    """Block and background differ."""


class BlockPresentSettings(_Block):
    """A block of any of the materials in the first of them; target: its radiation length [m]."""

    kind: Literal["block_present"] = "block_present"
    """Name of this family."""


class ULorrySettings(_Drawn):
    """A lorry with a random load, uranium in it or not; target: 1 with uranium, 0 without."""

    kind: Literal["u_lorry"] = "u_lorry"
    """Name of this family."""
    uranium: PositiveVolume = 0.012
    """Volume of the uranium [m3]; > 0; a box of whole voxels that fits into the load."""
    probability: Probability = 0.5
    """Probability of uranium; > 0, <= 1."""
    fill: Probability = 0.8
    """Part of the height that is filled, the floor included; > 0, <= 1."""
    floor_material: str = "iron"
    """Material of the floor (a name of the material table)."""
    materials: tuple[str, ...] = Field(default=("air", "iron"), min_length=1)
    """Materials of the load (names of the material table)."""


class CargoSettings(_Drawn):
    """Air with blocks of goods, and a threat or not; target: 1 with a threat, 0 without."""

    kind: Literal["cargo"] = "cargo"
    """Name of this family."""
    load: Literal["simple", "medium", "complex"] = "simple"
    """One block, four, or fifteen inside a frame of steel (floor and outer ring of voxels)."""
    probability: Fraction = 0.5
    """Probability of a threat: a last block of uranium or lead; 0 to 1."""
    materials: tuple[str, ...] = Field(
        default=("water", "SiO2", "aluminium", "iron", "graphite", "soft tissue"), min_length=1
    )
    """Materials of the goods (names of the material table)."""
    longest: Probability = 0.5
    """Longest side of a block as a part of the room; > 0, <= 1."""


class SmallWallsSettings(_Drawn):
    """One to four brick walls buried in soil; for radiation lengths of voxels only."""

    kind: Literal["small_walls"] = "small_walls"
    """Name of this family."""
    x0_soil: PositiveLength | None = None
    """Radiation length of the soil [m]; > 0; null: 0.2256 m; 0.262425 m is compat: TomOpt."""
    x0_wall: PositiveLength | None = None
    """Radiation length of the walls [m]; > 0; null: 0.0802 m."""
    stop_k: PositiveNumber = 10.0
    """The larger, the longer the walls; > 0."""
    turn_k: PositiveNumber = 5.0
    """The larger, the straighter the walls; > 0."""
    min_length: Natural = 4
    """Shortest wall that stops by itself [voxels]; >= 0."""
    min_height: Count = 4
    """Lowest wall [voxels]; >= 1."""


def _check_box(lows: Point, highs: Point) -> None:
    for axis, (low, high) in enumerate(zip(lows, highs, strict=True)):
        if not low < high:
            text = "got {high} m, which is not above {low} m; raise it"
            raise PydanticCustomError(
                "box", text, {"path": ("high", axis), "low": low, "high": high}
            )


class Box(Config):
    """A box of one material, along the axes."""

    low: Point = (0.5, 0.5, 0.4)
    """Lowest corner x, y, z [m]; on borders of voxels."""
    high: Point = (1.0, 1.0, 0.6)
    """Highest corner x, y, z [m]; on borders of voxels; above ``low``."""
    material: str = "lead"
    """Material (a name of the material table)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_box(self.low, self.high)
        return self


class BoxesSettings(_Drawn):
    """Boxes in a background, the same in every volume; for radiation lengths of voxels only."""

    kind: Literal["boxes"] = "boxes"
    """Name of this family."""
    background: str = "air"
    """Material around the boxes (a name of the material table)."""
    boxes: tuple[Box, ...] = Field(default=(Box(),), min_length=1)
    """Boxes; later ones replace earlier ones where they overlap."""


class LeadInBerylliumSettings(_Drawn):
    """A block of lead in beryllium, the same in every volume (facts 1.4: the "small" workload).

    For radiation lengths of voxels only.
    """

    kind: Literal["lead_in_beryllium"] = "lead_in_beryllium"
    """Name of this family."""
    low: Point = (0.5, 0.5, 0.4)
    """Lowest corner of the lead x, y, z [m]; on borders of voxels."""
    high: Point = (1.0, 1.0, 0.6)
    """Highest corner of the lead x, y, z [m]; on borders of voxels; above ``low``."""

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The lead as the only box."""
        return (Box(low=self.low, high=self.high, material="lead"),)

    @property
    def background(self) -> str:
        """Material around the lead."""
        return "beryllium"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_box(self.low, self.high)
        return self


class FileSceneSettings(InputFile):
    """Objects of your own: grids of radiation lengths or materials from an npz or CSV file.

    npz: ``x0`` [m], ``x0 [cm]`` or ``material``, of the shape (z, x, y) or (volume, z, x, y). CSV:
    a row a voxel with ``x [cm]``, ``y [cm]``, ``z [cm]`` of its centre, ``x0 [cm]`` or
    ``material``, maybe ``volume`` from 0. Both: maybe ``target``, one number for each volume.
    """

    kind: Literal["file"] = "file"
    """Name of this family."""
    first: Natural = 0
    """Number of the first volume of the file to take; >= 0."""
    volumes: Count | None = None
    """How many volumes to take; >= 1; null: all from ``first`` on; filled in when the study is
    read."""
    target: Literal["number", "voxels"] | None = None
    """What predictions are judged by: the file's ``target`` (for ladles the fill height [m]), or
    the radiation lengths of its voxels; null: ``target`` if the file has it; filled in when the
    study is read."""

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return self.volumes or 1


class OwnSceneSettings(OwnPart):
    """Objects of the user's own; written as ``kind: my_module:MyScene``."""

    volumes: Count = 40
    """Number of volumes; >= 1."""
    target: Literal["number", "voxels"] = "number"
    """What predictions are judged by: one number that each object comes with, or the radiation
    lengths of its voxels."""

    @property
    def n_volumes(self) -> int:
        """Number of volumes."""
        return self.volumes


SceneSettings = Annotated[
    LadleFurnaceSettings
    | VoxelSettings
    | RandomBlockSettings
    | BlockPresentSettings
    | ULorrySettings
    | CargoSettings
    | SmallWallsSettings
    | BoxesSettings
    | LeadInBerylliumSettings
    | FileSceneSettings
    | OwnSceneSettings,
    Field(discriminator="kind"),
]
"""Any family of objects."""

VOXELS_ONLY = (VoxelSettings, SmallWallsSettings, BoxesSettings, LeadInBerylliumSettings)
"""Families without one number per volume: only the radiation lengths of voxels are a target."""


def has_number(scene: SceneSettings) -> bool:
    """Whether the family has one number per volume that a prediction can be judged by."""
    if isinstance(scene, (FileSceneSettings, OwnSceneSettings)):
        return scene.target == "number"
    return not isinstance(scene, VOXELS_ONLY)
