"""Files that a study names: found beside the file that names them, and known by their digest."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from tomopt_tasks.config.compose import relative_file
from tomopt_tasks.config.document import Document, Mark
from tomopt_tasks.config.paths import Path, get_value, show_path
from tomopt_tasks.core import UserError
from tomopt_tasks.input_files import file_digest
from tomopt_tasks.scattering.settings import built_in_table
from tomopt_tasks.volume.grid_files import check_grids, read_grids
from tomopt_tasks.volume.scene_settings import FileSceneSettings
from tomopt_tasks.volume.settings import World

SPLITS = ("train", "valid", "test")


def admit_input_files(document: Document) -> None:
    """Put the full name and the digest of each file in its place, and count the objects in it.

    Raises:
        UserError: there is no such file, it is not the one whose digest was written, or a file of
            objects does not hold what the study needs.
    """
    for path, what in _places(document):
        entry = get_value(document.data, path)
        if isinstance(entry, dict) and "file" in entry:
            _admit(document, entry, path, what)
            if path[0] == "scenes":
                _look_into(document, entry, path)


def _places(document: Document) -> Iterator[tuple[Path, str]]:
    """Where a file may be named, and what it is."""
    if get_value(document.data, ("muons", "source", "kind")) == "table":
        for split in SPLITS:
            yield ("muons", "source", split), "a table of muons (.csv, .parquet or .npz)"
    for split in SPLITS:
        if get_value(document.data, ("scenes", split, "kind")) == "file":
            yield ("scenes", split), "a file of voxel grids (.npz or .csv)"
    if get_value(document.data, ("transport", "kind")) == "table":
        if get_value(document.data, ("transport", "file")):
            yield ("transport",), "a table of scattering angles (.npz)"
        else:
            document.data["transport"]["sha256"] = file_digest(built_in_table())


def _admit(document: Document, entry: dict[str, Any], path: Path, what: str) -> None:
    here = (*path, "file")
    mark = document.mark(here)
    file = relative_file(
        entry["file"], mark if mark.line else Mark(document.label), here
    ).absolute()
    try:
        found = file_digest(file)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        text = f"{file} cannot be read: {reason}; name {what}"
        raise UserError(f"{show_path(here)}: {text} ({mark})") from error
    written = entry.get("sha256")
    if written and written != found:
        text = f"{file} has the digest {found}, not the written one; correct either"
        raise UserError(f"{show_path((*path, 'sha256'))}: {text} ({mark})")
    entry |= {"file": str(file), "sha256": found}


def _look_into(document: Document, entry: dict[str, Any], path: Path) -> None:
    """Fill in how many volumes a scene takes of its file, and of what target.

    Raises:
        UserError: the file holds no grids, not those of the world, too few, or no targets.
    """
    try:
        world = World.model_validate(document.data.get("world") or {})
        scene = FileSceneSettings.model_validate(entry)
    except ValidationError:
        return  # is said with its place when the whole study is validated
    here = (*path, "file")
    try:
        n_found, has_target = _look(scene.file, scene.sha256, world)
        _check_enough(scene, n_found, has_target=has_target)
    except UserError as error:
        raise UserError(f"{show_path(here)}: {error} ({document.mark(here)})") from error
    entry["volumes"] = scene.volumes or n_found - scene.first
    entry["target"] = scene.target or ("number" if has_target else "voxels")


def _check_enough(scene: FileSceneSettings, n_found: int, *, has_target: bool) -> None:
    wanted = scene.volumes or 1
    if scene.first + wanted > n_found:
        text = f"{scene.file} holds {n_found} volumes, but {wanted} or more from number "
        text += f"{scene.first} on are asked for; change first or volumes"
        raise UserError(text)
    if scene.target == "number" and not has_target:
        text = f"{scene.file} has no target, one number for each volume; add it or write "
        raise UserError(text + "target: voxels")


@lru_cache(maxsize=16)
def _look(file: str, _sha256: str, world: World) -> tuple[int, bool]:
    """Number of volumes in a file, and whether it has targets; studies of a campaign share it."""
    grids = read_grids(file)
    try:
        check_grids(grids, world)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    return len(grids.x0), grids.target is not None
