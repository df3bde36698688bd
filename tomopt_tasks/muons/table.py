"""Muons from a table of the user's own, such as one that Geant4 has made.

One row a muon: where it enters and with which direction and momentum, and maybe where it comes out
again. Headers carry the units: ``x_in [mm]``, ``p [MeV]``. States are carried along straight lines
to the faces of the passive volume. See ``TableSettings`` for the columns.
"""

import re
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.input_files import file_digest
from tomopt_tasks.muons.aim import crosses_box
from tomopt_tasks.muons.plane import Box
from tomopt_tasks.muons.settings import MuonSettings, TableFile, TableSettings
from tomopt_tasks.muons.source import IncidentMuons
from tomopt_tasks.quantities import parse_quantity

Below = tuple[Tensor, Tensor, Tensor, Tensor]
"""x, y [m], tan_x and tan_y at the bottom of the passive volume, each [vol, mu]."""

TOLERANCE = 1e-6
"""How far inside the passive volume a state may be given, from rounding [m]."""

_HEADER = re.compile(r"\s*(\w+)\s*(?:\[\s*([^\]]+?)\s*\])?\s*")
_STATE = ("x", "y", "z", "dx", "dy", "dz")
_UNITS = {"x": "m", "y": "m", "z": "m", "p": "GeV"}
_EXAMPLES = {"m": "[mm]", "GeV": "[MeV]"}
_BEFORE = tuple(f"{name}_in" for name in _STATE)
_BEHIND = tuple(f"{name}_out" for name in _STATE)


class Face(NamedTuple):
    """Straight flights at one height."""

    x: Float[np.ndarray, " row"]
    """[m]"""
    y: Float[np.ndarray, " row"]
    """[m]"""
    z: Float[np.ndarray, " row"]
    """[m]"""
    tan_x: Float[np.ndarray, " row"]
    """dx per unit of depth."""
    tan_y: Float[np.ndarray, " row"]
    """dy per unit of depth."""

    def at(self, z: float) -> tuple[np.ndarray, np.ndarray]:
        """Where they cross a height [m]: x and y [m]."""
        depth = self.z - z
        return self.x + depth * self.tan_x, self.y + depth * self.tan_y


class MuonTable(NamedTuple):
    """A table in SI units, its rows in the order of the file."""

    volume: Int[np.ndarray, " row"]
    """Number of the object that each muon meets, from 0."""
    momentum: Float[np.ndarray, " row"]
    """[GeV]"""
    before: Face
    """Where muons come in."""
    behind: Face | None
    """Where they come out; NaN for those that never do; None if the table does not say."""


def read_muon_table(file: Path | str) -> MuonTable:
    """Read CSV (commas, one line of headers), Parquet or npz (an array for each column).

    Args:
        file: its ending says which.

    Raises:
        UserError: no such file, an unknown format, a column or a unit that is missing, a muon that
            does not fly down, or a number that is none.
    """
    path = Path(file)
    columns = _si_columns(_read(path), path)
    given = [name for name in _BEHIND if name in columns]
    needed = (*_BEFORE, "p", "volume", *(_BEHIND if given else ()))
    for name in needed:
        if name not in columns:
            unit = _EXAMPLES.get(_UNITS.get(name.split("_")[0], ""), "")
            shown = f"{name} {unit}".strip()
            raise UserError(f"{path}: the column {name!r} is missing; add it, headed {shown!r}")
    for name in (*_BEFORE, "p", "volume"):
        _check(np.isfinite(columns[name]), path, name, "is not a finite number")
    _check(columns["p"] > 0, path, "p", "is not > 0")
    volume = columns["volume"].astype(np.int64)
    whole = (volume == columns["volume"]) & (volume >= 0)
    _check(whole, path, "volume", "is not a whole number from 0")
    if "event" in columns:
        _check_events(columns["event"], volume, path)
    _check(columns["dz_in"] < 0, path, "dz_in", "is not < 0: z points up and muons fly down")
    behind = _face(columns, _BEHIND) if given else None
    return MuonTable(volume, columns["p"], _face(columns, _BEFORE), behind)


def table_muons(
    settings: MuonSettings,
    world: Box,
    split: str,
    volumes: range,
    replica: int,
    device: torch.device,
) -> tuple[IncidentMuons, Below | None]:
    """Muons of some volumes at the faces of the passive volume, in the order of the table.

    Exposure ``replica`` of a volume takes up where the one before ended. Rows that miss the passive
    volume (if aimed) or never come out of it are time, not tracks.

    Args:
        settings: the source is a table.
        world: the passive box.
        split: name of the set of volumes.
        volumes: their numbers.
        replica: number of the exposure, from 0.
        device: where the muons shall live.

    Returns:
        The incident muons, and their states behind the volume if the table holds those.

    Raises:
        UserError: no table for these volumes, another file than planned, a state inside the passive
            volume, or too few muons.
    """
    assert isinstance(settings.source, TableSettings)
    entry = _entry(settings.source, split)
    table = _planned(entry)
    here = Path(entry.file)
    _check_planes(table, world, here)
    low, high = world.passive
    x, y = table.before.at(high)
    kept = np.ones(len(x), dtype=bool)
    behind = None
    if table.behind is not None:
        behind = (*table.behind.at(low), *table.behind[3:])
        kept &= np.isfinite(np.stack(behind)).all(0)
    if settings.aim.kind == "muon_resampler":
        kept &= _crossing(table.before, (x, y), world)
    rows, generated = _rows(table.volume, kept, volumes, replica, settings.per_volume, here)

    def pick(column: np.ndarray) -> Tensor:
        return torch.from_numpy(column[rows]).to(device)

    incident = IncidentMuons(
        pick(x), pick(y), pick(table.before.tan_x), pick(table.before.tan_y),
        pick(table.momentum), torch.from_numpy(generated).to(device),
    )  # fmt: skip
    if behind is None:
        return incident, None
    x, y, tan_x, tan_y = behind
    return incident, (pick(x), pick(y), pick(tan_x), pick(tan_y))


def _entry(source: TableSettings, split: str) -> TableFile:
    """The file of a set of volumes."""
    entry: TableFile | None = getattr(source, split, None)
    if entry is not None:
        return entry
    if split in type(source).model_fields:
        raise UserError(
            f"muons.source: there is no table for {split} volumes; name one at "
            f"muons.source.{split}, or take a flux"
        )
    raise UserError(
        "muons.source: a table holds the muons of the study's own volumes only; to predict other "
        "objects, take a run whose muons come from a flux"
    )


def _check_planes(table: MuonTable, world: Box, file: Path) -> None:
    """States are outside the passive volume."""
    low, high = world.passive
    above = table.before.z >= high - TOLERANCE
    _check(above, file, "z_in", f"is below the top ({high:g} m) of the passive volume")
    if table.behind is not None:
        below = ~(table.behind.z > low + TOLERANCE)  # NaN: never came out
        _check(below, file, "z_out", f"is above the bottom ({low:g} m) of the passive volume")


def _crossing(
    before: Face, top: tuple[np.ndarray, np.ndarray], world: Box
) -> Bool[np.ndarray, " row"]:
    """Whose straight flight meets the passive volume."""
    x, y, tan_x, tan_y = (torch.from_numpy(part) for part in (*top, *before[3:]))
    depths = (0.0, world.passive[1] - world.passive[0])
    crosses: np.ndarray = crosses_box(x, y, (tan_x, tan_y), depths, world.size).numpy()
    return crosses


def _rows(
    volume: Int[np.ndarray, " row"],
    kept: Bool[np.ndarray, " row"],
    volumes: range,
    replica: int,
    n_muons: int,
    file: Path,
) -> tuple[Int[np.ndarray, "vol mu"], Int[np.ndarray, " vol"]]:
    """Rows of the exposure of each volume, and how many rows it passed to find them."""
    rows = np.empty((len(volumes), n_muons), dtype=np.int64)
    passed = np.empty(len(volumes), dtype=np.int64)
    order = np.argsort(volume, kind="stable")
    bounds = np.searchsorted(volume[order], [volumes.start, *(number + 1 for number in volumes)])
    for i, number in enumerate(volumes):
        own = order[bounds[i] : bounds[i + 1]]
        usable = np.flatnonzero(kept[own])
        first, last = replica * n_muons, (replica + 1) * n_muons
        if len(usable) < last:
            raise UserError(
                f"{file}: volume {number} has {len(own)} muons, of which {len(usable)} can be "
                f"used, but exposure {replica + 1} needs {last}; lower muons.per_volume or "
                "muons.replicas, or simulate more"
            )
        rows[i] = own[usable[first:last]]
        passed[i] = usable[last - 1] - (usable[first - 1] if first else -1)
    return rows, passed


def _planned(entry: TableFile) -> MuonTable:
    """The table, if its file still is the one that the key was made from."""
    file = Path(entry.file)
    try:
        seen = file.stat()
    except OSError as error:
        raise UserError(f"no such file: {file}; check the name and the folder") from error
    return _read_once(entry, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=2)
def _read_once(entry: TableFile, _changed: int, _size: int) -> MuonTable:
    """Chunks and exposures of one process read the file once."""
    file = Path(entry.file)
    if entry.sha256 and file_digest(file) != entry.sha256:
        raise UserError(f"{file} has changed since this was planned; run the study again")
    return read_muon_table(file)


def _face(columns: dict[str, np.ndarray], names: tuple[str, ...]) -> Face:
    x, y, z, dx, dy, dz = (columns[name] for name in names)
    down = np.where(dz < 0, -dz, np.nan)  # one that comes out upwards does not come out below
    return Face(x, y, z, dx / down, dy / down)


def _check(right: Bool[np.ndarray, " row"], file: Path, name: str, problem: str) -> None:
    """All rows are right, or a sentence about the first that is not."""
    wrong = np.flatnonzero(~right)
    if len(wrong):
        more = f" ({len(wrong) - 1} more rows like it)" if len(wrong) > 1 else ""
        raise UserError(f"{file}, row {wrong[0] + 1}: {name} {problem}{more}; correct the table")


def _check_events(events: np.ndarray, volume: np.ndarray, file: Path) -> None:
    """No event stands twice in a volume: a table that was joined to itself would bias a fit."""
    order = np.lexsort((events, volume))
    same = (np.diff(events[order]) == 0) & (np.diff(volume[order]) == 0)
    double = np.ones(len(events), dtype=bool)
    double[order[1:][same]] = False
    _check(double, file, "event", "stands twice in one volume")


def _si_columns(raw: dict[str, np.ndarray], file: Path) -> dict[str, np.ndarray]:
    """Columns in SI units by the name before the unit; others are left alone."""
    columns = {}
    for header, values in raw.items():
        found = _HEADER.fullmatch(header)
        if found is not None and found[1] in (*_BEFORE, *_BEHIND, "p", "volume", "event"):
            scale = _scale(header, found[1], found[2], file)
            columns[found[1]] = _numbers(values, header, file) * scale
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1 or lengths == {0}:
        raise UserError(f"{file}: columns have {sorted(lengths)} rows; give all as many, and some")
    return columns


def _scale(header: str, name: str, unit: str | None, file: Path) -> float:
    """What one of the header's units is in SI units."""
    to = _UNITS.get(name.split("_", maxsplit=1)[0])
    if to is None:
        return 1.0
    example = f"write, for example, {name} {_EXAMPLES[to]}"
    if unit is None:
        raise UserError(f"{file}: the header {header!r} has no unit; {example}")
    try:
        return parse_quantity(f"1 {unit}", to)
    except ValueError as error:
        text = f"{file}: the header {header!r} has the unit {unit!r}, which is not in {to}"
        raise UserError(f"{text}; {example}") from error


def _numbers(values: np.ndarray, header: str, file: Path) -> Float[np.ndarray, " row"]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: the column {header!r} does not hold numbers") from error


def _read(file: Path) -> dict[str, np.ndarray]:
    """Header -> values, as they stand in the file."""
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise UserError(f"{file}: a table of muons is .csv, .parquet or .npz; convert it")
    if not file.is_file():
        raise UserError(f"no such file: {file}; check the name and the folder")
    try:
        return reader(file)
    except UserError:
        raise
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file} is no table that can be read ({first})") from error


def _read_csv(file: Path) -> dict[str, np.ndarray]:
    with file.open(encoding="utf-8") as lines:
        headers = [header.strip().strip('"') for header in lines.readline().split(",")]
        values = np.loadtxt(lines, delimiter=",", ndmin=2, dtype=np.float64)
    if values.size and values.shape[1] != len(headers):
        msg = f"{len(headers)} headers over {values.shape[1]} columns"
        raise ValueError(msg)
    values = values.reshape(-1, len(headers))
    return dict(zip(headers, values.T, strict=True))


def _read_parquet(file: Path) -> dict[str, np.ndarray]:
    try:
        import pyarrow.parquet  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(
            f"{file}: Parquet needs pyarrow; pip install pyarrow, or write .csv or .npz"
        ) from error
    table = pyarrow.parquet.read_table(file)
    return {name: table[name].to_numpy() for name in table.column_names}


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}
