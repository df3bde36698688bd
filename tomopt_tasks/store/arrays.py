"""Named arrays as users hand them in, checked so that xarray opens what is stored."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.store.codec import ITEM_BYTES
from tomopt_tasks.store.formats import jsonable

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
RESERVED_ATTRIBUTES = frozenset({"units", "long_name"})


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a dataset, or a human view of a record."""

    data: np.ndarray
    """Numbers or bools; stored little-endian in C order. Larger than memory: :meth:`promised`."""
    dims: tuple[str, ...]
    """Name of each axis. Chunks split 'volume', else the first; of very long rows, the next."""
    units: str = ""
    """SI symbol such as 'm'; empty for a pure number."""
    description: str = ""
    """What it is, for a reader without our code (CF ``long_name``)."""
    attrs: Mapping[str, Any] = field(default_factory=dict)
    """More attributes, for instance the names along an axis."""

    @classmethod
    def promised(
        cls,
        shape: tuple[int, ...],
        dtype: str,
        dims: tuple[str, ...],
        **about: Any,  # noqa: ANN401
    ) -> "ArraySpec":
        """An array that is to come part by part: its data take no memory, and are not read."""
        return cls(np.broadcast_to(np.zeros((), dtype=dtype), shape), dims, **about)


def attributes_of(spec: ArraySpec, name: str) -> dict[str, Any]:
    """Attributes of an array, in the words of CF."""
    clash = RESERVED_ATTRIBUTES & set(spec.attrs)
    if clash:
        msg = f"array {name!r}: attribute {min(clash)!r} is set by units and description; drop it"
        raise UserError(msg)
    named = {"units": spec.units, "long_name": spec.description}
    extra = {key: jsonable(value, f"{name}.{key}") for key, value in spec.attrs.items()}
    return {key: value for key, value in named.items() if value} | extra


def plain(spec: ArraySpec, name: str) -> np.ndarray:
    """The array in C order and little-endian; shares memory where it already is."""
    data = np.asarray(spec.data)
    dtype = data.dtype.newbyteorder("<")
    if dtype.name not in ITEM_BYTES:
        msg = (
            f"array {name!r} has dtype {data.dtype}; the store keeps {', '.join(ITEM_BYTES)}: "
            "convert it, or put text into attrs"
        )
        raise UserError(msg)
    return data.astype(dtype, order="C", copy=False)


def check_arrays(arrays: Mapping[str, ArraySpec]) -> None:
    """Refuse names and shapes that xarray would refuse or silently reinterpret."""
    lengths: dict[str, tuple[int, str]] = {}
    for name, spec in arrays.items():
        _check_one(name, spec)
        for dim, length in zip(spec.dims, np.shape(spec.data), strict=True):
            known, first = lengths.setdefault(dim, (length, name))
            if known != length:
                msg = (
                    f"dimension {dim!r} has length {known} in array {first!r} but {length} in "
                    f"{name!r}; use equal lengths or another name"
                )
                raise UserError(msg)
    for name, spec in arrays.items():
        if name in lengths and tuple(spec.dims) != (name,):
            msg = (
                f"array {name!r} has the name of a dimension but dims {spec.dims}; xarray would "
                "take it for a coordinate: rename one of them"
            )
            raise UserError(msg)


def _check_one(name: str, spec: ArraySpec) -> None:
    for word in (name, *spec.dims):
        if not isinstance(word, str) or not NAME.fullmatch(word):
            msg = f"array or dimension name {word!r} is not a plain word; use letters, digits, '_'"
            raise UserError(msg)
    if len(spec.dims) != np.ndim(spec.data) or len(set(spec.dims)) != len(spec.dims):
        msg = (
            f"array {name!r} has {np.ndim(spec.data)} axes but dims {spec.dims}; give one name "
            "for each axis, each once"
        )
        raise UserError(msg)
