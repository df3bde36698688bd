"""Random values for settings classes, drawn from the types and bounds of their fields."""

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from tomopt_tasks.core import Config

SIMPLE = {
    type(None): st.none(),
    bool: st.booleans(),
    str: st.text("abcxyz._-", min_size=1, max_size=8),
}


def reachable(kind: Any, found: dict[str, type[Config]]) -> dict[str, type[Config]]:
    """Every settings class that a type mentions, directly or through its fields."""
    if isinstance(kind, type) and issubclass(kind, Config) and kind.__name__ not in found:
        found[kind.__name__] = kind
        for field in kind.model_fields.values():
            reachable(field.annotation, found)
    for inner in get_args(kind):
        reachable(inner, found)
    return found


def bounds(metadata: list[Any]) -> dict[type, Any]:
    """Bounds among the annotations of a field, those inside of Field() too."""
    flat = [b for m in metadata for b in (m.metadata if isinstance(m, FieldInfo) else [m])]
    kinds = (Gt, Ge, Lt, Le)
    return {type(b): getattr(b, type(b).__name__.lower()) for b in flat if isinstance(b, kinds)}


def numbers(kind: type, limit: dict[type, Any]) -> st.SearchStrategy[Any]:
    """Whole or real numbers within bounds."""
    low, high = limit.get(Gt, limit.get(Ge, -1000)), limit.get(Lt, limit.get(Le, 1000))
    if kind is int:
        return st.integers(int(low), int(min(high, 2**62)))
    options = {"exclude_min": Gt in limit, "exclude_max": Lt in limit}
    return st.floats(float(low), float(high), **options)


def values(kind: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """Draws for a type as pydantic sees it."""
    if kind in SIMPLE:
        return SIMPLE[kind]
    if kind in (int, float):
        return numbers(kind, bounds(metadata))
    origin, args = get_origin(kind), get_args(kind)
    if origin is None:
        return trees(kind)
    if origin is Annotated:
        return values(args[0], [*metadata, *args[1:]])
    return collections(origin, args, metadata)


def collections(origin: Any, args: Any, metadata: list[Any]) -> st.SearchStrategy[Any]:
    """Draws for a choice, a mapping or a tuple."""
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, UnionType):
        return st.one_of(*(values(member, metadata) for member in args))
    if origin is dict:
        keys = st.text("abc", min_size=1, max_size=3)
        return st.dictionaries(keys, values(args[1], []), min_size=1, max_size=2)
    if args[-1] is Ellipsis:
        return st.lists(values(args[0], []), min_size=1, max_size=3).map(tuple)
    return st.tuples(*(values(member, []) for member in args))


@st.composite
def trees(draw: st.DrawFn, kind: type[Config]) -> dict[str, Any]:
    """Values for a settings class, some fields left at their default; not all are valid.

    Plain data, since the run-time type checks of settings draw numbers of their own.
    """
    return {
        name: draw(values(field.annotation, field.metadata))
        for name, field in kind.model_fields.items()
        if field.is_required() or name == "kind" or draw(st.booleans())
    }
