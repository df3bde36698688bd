"""Whether objects, muons and exposures fit together; each failure names one place."""

from collections.abc import Iterator, Sequence

from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.core import UserError
from tomopt_tasks.materials import find_material
from tomopt_tasks.muons.settings import MuonSettings, TableSettings
from tomopt_tasks.volume.scene_settings import CargoSettings, SceneSettings
from tomopt_tasks.volume.settings import TOLERANCE, LadleFurnaceSettings, LadleVariation, World

MATERIALS = (
    "fill_material",
    "slag_material",
    "wall_material",
    "floor_material",
    "background",
    "materials",
    "boxes",
)
"""Entries of scenes that name materials."""


def check_scene(scene: SceneSettings, world: World, path: Path) -> None:
    """Materials exist, and ladles fit on the voxels of the world.

    Raises:
        Problem: at the place of the first entry that is wrong.
    """
    for place, name in _materials(scene):
        try:
            find_material(name)
        except UserError as error:
            raise Problem((*path, *place), str(error)) from error
    if isinstance(scene, LadleFurnaceSettings):
        check_ladle(scene, world, path)
    if isinstance(scene, CargoSettings) and scene.load == "complex":
        n_z, n_x, n_y = world.shape
        if min(n_x, n_y) < 3 or n_z < 2:
            text = f'got "complex", but a frame leaves no room in {n_z} x {n_x} x {n_y} voxels '
            raise Problem((*path, "load"), text + "(z, x, y); write medium or lower world.voxel")


def _materials(scene: SceneSettings) -> Iterator[tuple[Path, str]]:
    """Places and names of all materials that are written down."""
    for key in MATERIALS:
        value = getattr(scene, key, None) if key in type(scene).model_fields else None
        if isinstance(value, str):
            yield (key,), value
        for i, each in enumerate(value if isinstance(value, tuple) else ()):
            yield (
                ((key, i), each) if isinstance(each, str) else ((key, i, "material"), each.material)
            )


def check_ladle(scene: LadleFurnaceSettings, world: World, path: Path) -> None:
    """Heights on voxel borders and inside the ladle, materials known.

    Raises:
        Problem: at the place of the first entry that is wrong.
    """
    if scene.vary is not None:
        _check_varied(scene, scene.vary, world, path)
        return
    low, high = world.passive
    floor, slag = low + world.voxel, scene.slag / world.voxel
    if abs(slag - round(slag)) > TOLERANCE:
        text = f"got {scene.slag:g} m, but it must be a whole number of voxels of {world.voxel:g} m"
        raise Problem((*path, "slag"), f"{text}; the default is 0.1 m")
    for i, height in enumerate(scene.heights):
        here = (*path, "heights", i)
        layer = (height - low) / world.voxel
        top = high - scene.slag + TOLERANCE * world.voxel
        if not floor - TOLERANCE * world.voxel < height <= top:
            raise Problem(
                here,
                f"got {height:g} m, but a fill height must lie above the floor of the ladle "
                f"({floor:g} m) and leave room for the slag below {high:g} m; change it",
            )
        if abs(layer - round(layer)) > TOLERANCE:
            raise Problem(
                here,
                f"got {height:g} m, which is not on a border of voxels of {world.voxel:g} m, so "
                "the object would not have its target height; change it or world.voxel",
            )
        if i > 0 and height <= scene.heights[i - 1]:
            raise Problem(
                here,
                f"got {height:g} m after {scene.heights[i - 1]:g} m, but heights are ascending; "
                "sort them and remove doubles",
            )


def _check_varied(
    scene: LadleFurnaceSettings, vary: LadleVariation, world: World, path: Path
) -> None:
    """Every ladle that may be drawn fits."""
    low, high = world.passive
    slag, wall = vary.slag or (scene.slag,) * 2, vary.wall or (world.voxel,) * 2
    for name, limits in (("slag", slag), ("wall", wall)):
        if limits[0] > limits[1]:
            shown = f"[{limits[0]:g}, {limits[1]:g}] m"
            raise Problem((*path, "vary", name), f"got {shown}, which descends; swap the two")
    if 2 * wall[1] >= min(world.size):
        text = f"got up to {wall[1]:g} m, which leaves no room inside {min(world.size):g} m"
        raise Problem((*path, "vary", "wall"), f"{text}; lower it")
    for i, height in enumerate(scene.heights):
        if not low + wall[1] < height <= high - slag[1] + TOLERANCE * world.voxel:
            raise Problem(
                (*path, "heights", i),
                f"got {height:g} m, but a fill height must lie above the thickest floor "
                f"({low + wall[1]:g} m) and leave room for the thickest slag below {high:g} m "
                f"({high - slag[1]:g} m); change it",
            )
        if i > 0 and height <= scene.heights[i - 1]:
            raise Problem(
                (*path, "heights", i),
                f"got {height:g} m after {scene.heights[i - 1]:g} m, but heights are ascending; "
                "sort them and remove doubles",
            )


def check_muons(muons: MuonSettings, world: World, splits: Sequence[str]) -> None:
    """Each set has its muons, and none start below the top of the passive volume.

    Args:
        muons: source and plane.
        world: gives the top.
        splits: sets of volumes that the study reads.

    Raises:
        Problem: at ``muons.plane.z``, or at the set that a table is missing for.
    """
    if isinstance(muons.source, TableSettings):
        for split in splits:
            if getattr(muons.source, split) is None:
                text = f"missing, but the {split} volumes need muons; add {split}: {{file: ...}}"
                raise Problem(("muons", "source", split), text)
    if muons.plane is not None and muons.plane.z is not None:
        z, top = muons.plane.z, world.passive[1]
        if z < top - TOLERANCE * world.voxel:
            raise Problem(
                ("muons", "plane", "z"),
                f"got {z:g} m, but muons must start above the passive volume ({top:g} m); raise it",
            )


def check_exposures(exposures: Sequence[int], per_volume: int) -> None:
    """Ascending, and not more muons than there are.

    Raises:
        Problem: at the first entry of ``evaluation.exposures`` that is wrong.
    """
    for i, n_muons in enumerate(exposures):
        here = ("evaluation", "exposures", i)
        if n_muons > per_volume:
            raise Problem(
                here,
                f"got {n_muons} muons, but a volume sees {per_volume}; lower it or raise "
                "muons.per_volume",
            )
        if i > 0 and n_muons <= exposures[i - 1]:
            raise Problem(
                here,
                f"got {n_muons} after {exposures[i - 1]}, but exposures are ascending; sort them",
            )
