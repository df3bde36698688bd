"""``tomopt export``: tables and grids as CSV, Parquet, NetCDF or HDF5."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from tomopt_tasks.callbacks.optional import optional_module
from tomopt_tasks.commands.answer import Answer
from tomopt_tasks.commands.tables import (
    Table,
    table_of_dataset,
    table_of_record,
    table_of_run,
)
from tomopt_tasks.commands.target import HEX, find_ref, planned
from tomopt_tasks.core import UserError
from tomopt_tasks.project import writing
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.store.refs import manifest_path
from tomopt_tasks.store.store import Store

FORMATS = (".csv", ".parquet", ".nc", ".h5")
INT32 = np.iinfo(np.int32)


def export(store: Store, text: str, to: Path | None = None, array: str = "") -> Answer:
    """Write an object, or the epochs of a run, for other programs.

    Args:
        store: where it is.
        text: a key or RUN:STAGE, see `find_object`; a run or study alone: its epochs.
        to: the file; its suffix chooses the format; None: CSV to print.
        array: of a dataset, the array that the table is about; NetCDF and HDF5 take all.

    Raises:
        UserError: an unknown suffix, or nothing there that fits into the format.
    """
    if to is not None and to.suffix not in FORMATS:
        raise UserError(f"--to {to}: {to.suffix or 'no suffix'}; use one of {', '.join(FORMATS)}")
    found = _found(store, text)
    whole = {".nc": _netcdf, ".h5": _hdf5}
    if to is not None and to.suffix in whole:
        with writing(to, "choose another place with --to"):
            return _written(to, whole[to.suffix](to, found))
    table = table_of_dataset(found, array) if isinstance(found, Dataset) else found
    if to is None:
        return Answer(_records(table), _csv(table).splitlines())
    with writing(to, "choose another place with --to"):
        if to.suffix == ".csv":
            to.write_text(_csv(table), encoding="utf-8")
        else:
            _parquet(to, table)
    return _written(to, {"columns": list(table), "rows": _length(table)})


def _found(store: Store, text: str) -> Table | Dataset:
    """A dataset as it is, anything else as a table."""
    if not HEX.fullmatch(text.rpartition("/")[2]) and ":" not in text:
        return table_of_run(store, planned(store, text))
    ref = find_ref(store, text)
    if store.backend.stat(manifest_path(ref.kind, ref.key)) is not None:
        return store.open_dataset(ref)
    if store.find(ref.kind, ref.key) is None:
        raise UserError(f"{ref.kind} {ref.key[:12]} was retired; only its metrics are left")
    return table_of_record(store, ref)


def _written(to: Path, about: dict[str, Any]) -> Answer:
    rows = f", {about['rows']} rows" if "rows" in about else ""
    return Answer({"file": str(to), **about}, [f"{to}: {', '.join(about['columns'])}{rows}"])


def _length(table: Table) -> int:
    return len(next(iter(table.values()), []))


def _records(table: Table) -> list[dict[str, Any]]:
    return [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]


def _csv(table: Table) -> str:
    """Comma-separated values; floats in full, nothing for None."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return out.getvalue()


def _parquet(to: Path, table: Table) -> None:
    try:
        import pyarrow  # noqa: PLC0415 - an extra
        import pyarrow.parquet  # noqa: PLC0415
    except ImportError as error:
        raise UserError(
            f"--to {to}: Parquet needs pyarrow; pip install pyarrow, or write .csv or .nc"
        ) from error
    pyarrow.parquet.write_table(pyarrow.table(table), to)


def _netcdf(to: Path, found: Table | Dataset) -> dict[str, Any]:
    """NetCDF 3, which every reader opens; its columns."""
    from scipy.io import netcdf_file  # noqa: PLC0415 - only here

    with netcdf_file(to, "w", version=2) as file:
        if not isinstance(found, Dataset):
            for name, values in found.items():
                _variable(file, name.replace(".", "_"), _array(values), ("row",))
            return {"columns": list(found), "rows": _length(found)}
        for name in found.names:
            info = found.info(name)
            _variable(file, name, found.array(name), info.dims)
            for word in ("units", "long_name"):
                if info.attributes.get(word):
                    setattr(file.variables[name], word, str(info.attributes[word]))
        return {"columns": list(found.names)}


def _hdf5(to: Path, found: Table | Dataset) -> dict[str, Any]:
    """HDF5, one array a name, with units and named axes; its columns."""
    h5py = optional_module("h5py", purpose=f"--to {to}: HDF5", install="h5py")
    with h5py.File(to, "w") as file:
        if not isinstance(found, Dataset):
            for name, values in found.items():
                file.create_dataset(name.replace(".", "_"), data=_array(values))
            return {"columns": list(found), "rows": _length(found)}
        for name in found.names:
            info = found.info(name)
            stored = file.create_dataset(name, data=found.array(name))
            stored.attrs.update({key: _plain(value) for key, value in info.attributes.items()})
            for axis, dim in zip(stored.dims, info.dims, strict=True):
                axis.label = dim
        return {"columns": list(found.names)}


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A number or text as it is, what is nested as JSON."""
    return value if isinstance(value, str | int | float) else json.dumps(value)


def _variable(file: Any, name: str, values: np.ndarray, dims: tuple[str, ...]) -> None:  # noqa: ANN401
    """Add an array; text becomes rows of letters, and what NetCDF 3 lacks the next wider type."""
    if values.dtype.kind == "S":
        length = f"{name}_letters"
        letters = values.view("S1").reshape(*values.shape, -1)
        dims, values = (*dims, length), letters
    elif values.dtype == bool:
        values = values.astype(np.int8)
    elif values.dtype.kind in "iu":
        fits = not values.size or (values.min() >= INT32.min and values.max() <= INT32.max)
        values = values.astype(np.int32 if fits else np.float64)
    for dim, n in zip(dims, values.shape, strict=True):
        if dim not in file.dimensions:
            file.createDimension(dim, n)
    kind = "c" if values.dtype.kind == "S" else values.dtype.newbyteorder(">")
    file.createVariable(name, kind, dims)[:] = values


def _array(values: list[Any]) -> np.ndarray:
    """A column: numbers with NaN for None, else text."""
    if all(value is None or isinstance(value, bool | int | float) for value in values):
        return np.array([np.nan if value is None else value for value in values])
    text = ["" if value is None else str(value) for value in values]
    return np.array([word.encode() or b" " for word in text])
