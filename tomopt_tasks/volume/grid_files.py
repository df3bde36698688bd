"""Objects of the user's own: voxel grids from npz and CSV files, with units in the header.

An npz file holds the array ``x0`` [m] or, with a unit in its name, ``x0 [cm]``, or the array
``material`` of names from the table of materials; shape (z, x, y) with z index 0 the lowest, or
(volume, z, x, y). A CSV file has one row a voxel: ``x [cm]``, ``y [cm]``, ``z [cm]`` of its centre
in the world, ``x0 [cm]`` or ``material``, and ``volume`` from 0 if there are several. Both may hold
``target``, one number for each volume, with a unit if it has one (``target [m]``).
"""

import csv
import io
import re
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import find_material
from tomopt_tasks.quantities import parse_quantity
from tomopt_tasks.volume.settings import World

Array = np.ndarray

TOLERANCE = 1e-3
"""How far from the centre of a voxel a coordinate may be, in voxels."""

_HEADER = re.compile(r"\s*(\w+)\s*(?:\[\s*([^\]]+?)\s*\])?\s*")
_IN_NPZ = ("x0", "material", "target")
_IN_CSV = ("x", "y", "z", "volume", *_IN_NPZ)
_UNREADABLE = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zipfile.BadZipFile)


class Grids(NamedTuple):
    """Objects on a grid of voxels."""

    x0: Float[Array, "vol z x y"]
    """Radiation lengths [m]."""
    target: Float[Array, " vol"] | None
    """What is to be predicted of each; None if the file does not say."""
    centres: tuple[Float[Array, " z"], Float[Array, " x"], Float[Array, " y"]] | None
    """Centres of the voxels along each axis [m]; None: the grid fills the passive volume."""


def read_grids(file: Path | str, content: bytes | None = None) -> Grids:
    """Read npz or CSV; see the module for the names.

    Args:
        file: its ending says which.
        content: what it holds, if that has been read before.

    Raises:
        UserError: no such file, an unknown format, names or units that are missing, a grid with
            holes, or numbers that are no radiation lengths.
    """
    path = Path(file)
    reader = {".npz": _from_npz, ".csv": _from_csv}.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: a file of voxel grids is .npz or .csv; convert it")
    if content is None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"no such file: {path}; check the name and the folder") from error
    grids = reader(content, path)
    if not bool((grids.x0 > 0).all()):
        raise UserError(f"{path}: radiation lengths must be > 0 m; use inf for vacuum")
    if grids.target is not None and not bool(np.isfinite(grids.target).all()):
        raise UserError(f"{path}: a target is not a finite number; correct it")
    return grids


def check_grids(grids: Grids, world: World) -> None:
    """The grids are those of the passive volume.

    Raises:
        UserError: another number of voxels, or other places.
    """
    found = tuple(grids.x0.shape[1:])
    if found != world.shape:
        raise UserError(
            f"its grids have {found} voxels along (z, x, y), but the world has {world.shape}; "
            "change the world or the file"
        )
    for i, centres in enumerate(grids.centres or ()):
        name, low = "zxy"[i], (world.passive[0], 0.0, 0.0)[i]
        wanted = low + world.voxel * (np.arange(len(centres)) + 0.5)
        if np.abs(centres - wanted).max() > TOLERANCE * world.voxel:
            raise UserError(
                f"its voxels have centres from {name} = {centres[0]:.6g} to {centres[-1]:.6g} m, "
                f"but those of the world go from {wanted[0]:.6g} to {wanted[-1]:.6g} m; change "
                "the world or the file"
            )


def _from_npz(content: bytes, file: Path) -> Grids:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            columns = _named({name: arrays[name] for name in arrays.files}, file, _IN_NPZ)
    except UserError:
        raise
    except _UNREADABLE as error:
        raise UserError(
            f"{file} is no npz file with the array x0 or material; write it with "
            "numpy.savez(file, x0=...)"
        ) from error
    x0 = _lengths(columns, file)
    x0 = x0[None] if x0.ndim == 3 else x0
    if x0.ndim != 4 or 0 in x0.shape:
        raise UserError(
            f"{file}: got an array of the shape {x0.shape}, but grids are (z, x, y) or "
            "(volume, z, x, y)"
        )
    target = columns.get("target")
    if target is not None and target.shape != (len(x0),):
        raise UserError(
            f"{file}: target has the shape {target.shape}, but one number for each of the "
            f"{len(x0)} volumes is needed; correct either"
        )
    return Grids(x0, target, None)


def _from_csv(content: bytes, file: Path) -> Grids:
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file} is no CSV text (UTF-8, commas); convert it") from error
    header, body = (rows[0] if rows else []), [row for row in rows[1:] if row]
    if not body or any(len(row) != len(header) for row in body):
        raise UserError(
            f"{file}: needs one line of headers and then rows with as many entries, got "
            f"{len(header)} headers and {len(body)} rows; correct the file"
        )
    raw = {name: np.array([row[i] for row in body]) for i, name in enumerate(header)}
    columns = _named(raw, file, _IN_CSV)
    for name in "xyz":
        if name not in columns:
            raise UserError(f"{file}: the column {name!r} is missing; add it, headed '{name} [cm]'")
    return _gridded(columns, _lengths(columns, file), file)


def _gridded(columns: Mapping[str, Array], x0: Array, file: Path) -> Grids:
    """Rows in any order as grids."""
    volume = columns.get("volume", np.zeros(len(x0)))
    n_volumes = int(volume.max()) + 1
    if not bool(((volume >= 0) & (volume == np.floor(volume))).all()):
        raise UserError(f"{file}: volume is not a whole number from 0 in every row; correct it")
    ranked = [_ranks(columns[name], f"{file}: {name}") for name in "zxy"]
    shape = (n_volumes, *(len(centres) for centres, _ in ranked))
    flat = np.ravel_multi_index((volume.astype(int), *(rank for _, rank in ranked)), shape)
    counts = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape)
    wrong = np.argwhere(counts != 1)
    if len(wrong):
        number, *voxel = (int(n) for n in wrong[0])
        places = [f"{'zxy'[i]} = {ranked[i][0][k]:.6g} m" for i, k in enumerate(voxel)]
        raise UserError(
            f"{file}: {len(wrong)} voxels do not have exactly one row; the first is that at "
            f"{', '.join(places)} of volume {number}, with {counts[tuple(wrong[0])]}; correct it"
        )
    grid = np.empty(shape)
    grid.reshape(-1)[flat] = x0
    centres = (ranked[0][0], ranked[1][0], ranked[2][0])
    return Grids(grid, _one_each(columns.get("target"), volume, n_volumes, file), centres)


def _ranks(values: Array, what: str) -> tuple[Array, Array]:
    """The different coordinates, ascending, and which of them each row has."""
    if not bool(np.isfinite(values).all()):
        raise UserError(f"{what} is not a finite number in every row; correct it")
    order = np.sort(values)
    gap = np.diff(order)
    near = TOLERANCE * gap.max(initial=0.0)
    centres = order[np.concatenate([[True], gap > near])]
    return centres, np.searchsorted(centres, values + near, side="right") - 1


def _one_each(
    target: Array | None, volume: Array, n_volumes: int, file: Path
) -> Float[Array, " vol"] | None:
    if target is None:
        return None
    each = np.empty(n_volumes)
    each[volume.astype(int)] = target
    if not np.array_equal(each[volume.astype(int)], target):
        raise UserError(f"{file}: target differs between the rows of one volume; correct it")
    return each


def _lengths(columns: Mapping[str, Array], file: Path) -> Array:
    """Radiation lengths [m], given or by the names of materials."""
    if ("x0" in columns) == ("material" in columns):
        text = "has both x0 and material" if "x0" in columns else "has neither x0 nor material"
        raise UserError(f"{file}: {text}; give exactly one of them")
    if "x0" in columns:
        return columns["x0"]
    names, where = np.unique(columns["material"], return_inverse=True)
    try:
        lengths = np.array([find_material(str(name)).x0 for name in names])
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    return lengths[where].reshape(columns["material"].shape)


def _named(raw: Mapping[str, Array], file: Path, wanted: Collection[str]) -> dict[str, Array]:
    """Arrays in SI units by the name before the unit; names that are not wanted are left alone."""
    found: dict[str, Array] = {}
    for header, values in raw.items():
        match = _HEADER.fullmatch(header)
        if match is None or match[1] not in wanted:
            continue
        name = match[1]
        if name in found:
            raise UserError(f"{file}: {name!r} is there twice; remove one")
        if name == "material":
            found[name] = np.char.strip(np.asarray(values, dtype=str))
            continue
        scale = _scale(name, match[2], file)
        try:
            found[name] = np.asarray(values, dtype=np.float64) * scale
        except (TypeError, ValueError) as error:
            raise UserError(f"{file}: {header!r} does not hold numbers; correct it") from error
    return found


def _scale(name: str, unit: str | None, file: Path) -> float:
    """What one of the header's units is in SI units."""
    if unit is None:
        if name in ("volume", "target") or (name == "x0" and file.suffix.lower() == ".npz"):
            return 1.0
        raise UserError(f"{file}: the header {name!r} has no unit; write '{name} [cm]'")
    try:
        return parse_quantity(f"1 {unit}", "m")
    except ValueError as error:
        raise UserError(
            f"{file}: the header '{name} [{unit}]' has a unit that is not a length; write "
            f"'{name} [cm]'"
        ) from error
