"""One edit of every field of a study, found in its types: nothing is listed by hand."""

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tomopt_tasks.config.study import Study
from tomopt_tasks.core import Config

Edit = tuple[str, Study]
"""Place of the field, and the study with another value there. It need not be a valid one."""


def edits(study: Study) -> Iterator[Edit]:
    """Every field, in the branch of every union that the study takes, and every other branch."""
    for path, changed in _model(study, ""):
        yield path.lstrip("."), changed


def _model(model: Config, path: str) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        for place, value in _value(getattr(model, name), field.annotation, f"{path}.{name}"):
            yield place, model.model_copy(update={name: value})


def _value(value: Any, kind: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Changed values of a field: of each of its parts, or as a whole."""
    if isinstance(value, Config):
        yield from _model(value, path)
        for other in members(kind):
            if isinstance(other, type) and issubclass(other, Config) and other is not type(value):
                yield f"{path}.kind", minimal(other)
    elif isinstance(value, dict) and value:
        yield from _items(value, value.items(), get_args(_plain(kind))[1], path + ".{}")
    elif isinstance(value, tuple) and any(isinstance(item, Config) for item in value):
        parts = dict(enumerate(value))
        for place, changed in _items(
            parts, parts.items(), get_args(_plain(kind))[0], path + "[{}]"
        ):
            yield place, tuple(changed.values())
    else:
        yield path, other_than(value, kind)


def _items(whole: Any, items: Any, kind: Any, place: str) -> Iterator[tuple[str, Any]]:
    for name, item in items:
        for path, changed in _value(item, kind, place.format(name)):
            yield path, {**whole, name: changed}


def other_than(value: Any, kind: Any) -> Any:
    """Another value of a type; numbers become larger, the last one of several smaller."""
    words = [word for member in members(kind) for word in _words(member) if word != value]
    if words:
        return words[0]
    if isinstance(value, tuple) and value:
        last = value[-1]
        return (*value[:-1], last / 2 if isinstance(last, float) else other_than(last, Any))
    if isinstance(value, dict):
        return {"new": minimal(get_args(_plain(kind))[1])}
    plain = {
        bool: lambda: not value,
        int: lambda: value + 1,
        float: lambda: 2 * value or 0.5,
        str: lambda: f"{value}x",
    }.get(type(value))
    if plain is not None:
        return plain()
    return minimal(next(member for member in members(kind) if member is not NoneType))


def minimal(kind: Any) -> Any:
    """Some value of a type."""
    kind = members(kind)[0]
    if isinstance(kind, type) and issubclass(kind, Config):
        needed = {n: f for n, f in kind.model_fields.items() if f.is_required()}
        return kind.model_construct(**{n: minimal(f.annotation) for n, f in needed.items()})
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return args[0]
    if origin is tuple:
        return tuple(minimal(arg) for arg in args if arg is not Ellipsis)
    if origin is not None:
        return origin()
    return {bool: True, int: 1, float: 0.5, str: "x"}.get(kind, "x")


def members(kind: Any) -> list[Any]:
    """The members of a union, through annotations; of anything else itself."""
    kind = _plain(kind)
    if get_origin(kind) in (Union, UnionType):
        return [member for arg in get_args(kind) for member in members(arg)]
    return [kind]


def _plain(kind: Any) -> Any:
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind


def _words(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) is Literal else ()
