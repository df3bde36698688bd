"""``tomopt inspect``: what an object is and what it holds."""

from collections.abc import Mapping
from typing import Any

from tomopt_tasks.commands.answer import Answer, age, size
from tomopt_tasks.commands.target import find_object
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.reasons import leaves, short
from tomopt_tasks.reports.text import columns
from tomopt_tasks.store.codec import TensorShape
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.store.refs import Ref, record_path
from tomopt_tasks.store.store import Store

MOST_LEAVES = 60
"""Entries of a record that are printed; JSON has all of them."""


def inspect(store: Store, text: str) -> Answer:
    """Describe an object: name, digest, size, metrics, and its arrays or its tree.

    Args:
        store: where it is.
        text: see `find_object`.
    """
    kind, key = find_object(store, text)
    ref = store.find(kind, key)
    retired = ref is None
    ref = ref or store.tombstone(kind, key)
    if ref is None:
        raise UserError(
            f"{kind} {key[:12]} is not in the store; `tomopt explain` says what made it"
        )
    data: dict[str, Any] = {**ref.model_dump(mode="json"), "retired": retired}
    modified = store.modified(ref)
    when = "retired: only its metrics are left" if retired else f"stored {age(modified or 0.0)}"
    lines = [f"{kind} {key}", f"content {ref.sha256}", f"{size(ref.nbytes)}, {when}", ""]
    lines += [f"metric {path} = {short(value)}" for path, value in leaves(ref.metrics)]
    if not retired and store.backend.stat(record_path(kind, key)) is None:
        more, said = _dataset(store.open_dataset(ref))
    elif not retired:
        more, said = _record(store, ref)
    else:
        more, said = {}, []
    return Answer(data | more, [*lines, *said])


def _dataset(dataset: Dataset) -> tuple[dict[str, Any], list[str]]:
    arrays = {}
    rows = []
    for name in dataset.names:
        meta = dataset.info(name)
        arrays[name] = {
            "dims": list(meta.dims),
            "shape": list(meta.shape),
            "dtype": meta.dtype,
            "chunks": list(meta.chunks),
            "attributes": meta.attributes,
        }
        sides = ", ".join(f"{dim} {n}" for dim, n in zip(meta.dims, meta.shape, strict=True))
        about = meta.attributes
        row = {"array": name, "dims": sides, "dtype": meta.dtype, "unit": about.get("units", "")}
        rows.append({**row, "what": str(about.get("long_name", ""))})
    attrs = [f"attribute {path} = {short(value)}" for path, value in leaves(dataset.attrs)]
    opened = f'xarray.open_zarr("{dataset.url}", consolidated=False)'
    data = {"arrays": arrays, "attrs": dataset.attrs, "url": dataset.url}
    return data, [*attrs, "", *columns(rows), "", f"open with {opened}"]


def _record(store: Store, ref: Ref) -> tuple[dict[str, Any], list[str]]:
    tree = _plain(store.outline(ref))
    said = [f"{path} = {short(value)}" for path, value in leaves(tree)]
    more = len(said) - MOST_LEAVES
    rest = [f"... and {more} more: --json shows them"] if more > 0 else []
    return {"tree": tree}, ["", *said[:MOST_LEAVES], *rest]


def _plain(tree: Any) -> Any:  # noqa: ANN401
    """JSON types only: tensors by their shape, numbered keys as text."""
    if isinstance(tree, TensorShape):
        return f"{tree.dtype}{list(tree.shape)}"
    if isinstance(tree, Mapping):
        return {str(name): _plain(value) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(value) for value in tree]
    return tree
