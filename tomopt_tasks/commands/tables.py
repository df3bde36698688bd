"""Objects of a store as tables: one row a cell of a grid, a panel, a design or an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tomopt_tasks.commands.target import Planned
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.planning.reasons import leaves
from tomopt_tasks.runs.manifest import epoch_row
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

Table = dict[str, list[Any]]
"""Column -> values; all columns have the same length."""

MAIN = {"volumes": "x0", "bank": "state", "predictions": "prediction"}
"""Kind -> the array that a table is about by default."""

SPREAD = "column"
"""Dimension whose entries become columns of their own."""


def table_of_dataset(dataset: Dataset, array: str = "") -> Table:
    """One row a cell of an array, with its indices; arrays along some of its axes join in.

    Args:
        dataset: where the array is.
        array: its name; empty: the main one of this kind of dataset.
    """
    name = array or MAIN.get(dataset.ref.kind, dataset.names[0])
    dims = tuple(dim for dim in dataset.info(name).dims if dim != SPREAD)
    sizes = dict(zip(dataset.info(name).dims, dataset.info(name).shape, strict=True))
    shape = tuple(sizes[dim] for dim in dims)
    table: Table = {
        dim: np.broadcast_to(np.arange(n).reshape(_along(dims, (dim,), (n,))), shape)
        .ravel()
        .tolist()
        for dim, n in zip(dims, shape, strict=True)
    }
    others = [each for each in dataset.names if each != name and each not in table]
    for each in [name, *others]:
        info = dataset.info(each)
        own = tuple(dim for dim in info.dims if dim != SPREAD)
        if set(own) <= set(dims) and (each == name or SPREAD not in info.dims):
            for column, values in _columns(each, dataset.array(each), info.dims, info.attributes):
                flat = values.reshape(_along(dims, own, values.shape))
                table[column] = np.broadcast_to(flat, shape).ravel().tolist()
    return table


def _columns(
    name: str, values: np.ndarray, dims: Sequence[str], attributes: Mapping[str, Any]
) -> list[tuple[str, np.ndarray]]:
    """The array itself, or one array an entry of its last axis if that is spread."""
    if not dims or dims[-1] != SPREAD:
        return [(name, values)]
    n = values.shape[-1]
    heads = attributes.get("columns") or [f"{name}_{i}" for i in range(n)]
    return [(str(heads[i]), values[..., i]) for i in range(n)]


def _along(dims: Sequence[str], own: Sequence[str], shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that lines axes up with ``dims``; they come in the same order."""
    if [dim for dim in dims if dim in own] != list(own):
        raise UserError(f"axes {tuple(own)} are in another order than {tuple(dims)}; name --array")
    sizes = dict(zip(own, shape, strict=True))
    return tuple(sizes.get(dim, 1) for dim in dims)


def table_of_record(store: Store, ref: Ref) -> Table:
    """Panels of a checkpoint, designs of an evaluation, else one row an entry of the tree."""
    tree = store.outline(ref)
    if ref.kind == "checkpoint":
        return table_of_rows(ref.metrics.get("geometry") or [])
    if ref.kind == "evaluation":
        return table_of_rows([{"design": name, **row} for name, row in tree["designs"].items()])
    found = [(path, value) for path, value in leaves(tree) if not isinstance(value, list)]
    return {"place": [path for path, _ in found], "value": [str(value) for _, value in found]}


def table_of_run(store: Store, run: Planned) -> Table:
    """One row an epoch: its metrics; of checkpoints that were given up too."""
    rows = []
    for stage in run.stages:
        if stage.name == "fit_epoch":
            kind = KINDS[stage.name]
            ref = store.find(kind, stage.key) or store.tombstone(kind, stage.key)
            if ref is not None:
                rows.append(epoch_row(stage.label, stage.components, ref.metrics))
    for row in rows:
        row["epoch"] += 1  # people count from 1
    return table_of_rows(rows)


def table_of_rows(rows: Any) -> Table:  # noqa: ANN401
    """Rows of nested JSON as columns: ``rates.xy``; pairs by number; longer lists are left out."""
    flat = [dict(_cells(row)) for row in rows]
    names = dict.fromkeys(name for row in flat for name in row)
    return {name: [row.get(name) for row in flat] for name in names}


def _cells(row: Mapping[str, Any]) -> list[tuple[str, Any]]:
    cells: list[tuple[str, Any]] = []
    for path, value in leaves(row):
        if "[" in path:  # a table of its own, such as the panels of an epoch
            continue
        if not isinstance(value, list):
            cells.append((path, value))
        elif len(value) <= 3:
            cells += [(f"{path}.{i}", item) for i, item in enumerate(value)]
    return cells
