"""From pydantic's list of errors to one sentence about one place of the user's file."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tomopt_tasks.config.document import Document, nearest
from tomopt_tasks.config.paths import Path, get_value, show_value
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.config.schema import Schema, schema_at
from tomopt_tasks.core import UserError

_NEEDED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
}
_SIGNS = {
    "exclusiveMinimum": ">",
    "minimum": ">=",
    "exclusiveMaximum": "<",
    "maximum": "<=",
    "gt": ">",
    "ge": ">=",
    "lt": "<",
    "le": "<=",
}
_SHORT: Mapping[str | int, int] = {"start": 0, "stop": 1}
_BOUNDS = {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}

Origin = Callable[[Path], Path]
"""From a place in the resolved study to the place in the file."""


SchemaAt = Callable[[Path, Any], Schema]
"""The schema of a place, given the data."""


def sentence(
    error: ValidationError,
    document: Document,
    origin: Origin = lambda path: path,
    schema_of: SchemaAt = schema_at,
) -> UserError:
    """The first of pydantic's errors in one sentence, and how many more there are.

    Unknown keys come first, since a misspelt key is also a missing one.

    Args:
        error: what validation raised.
        document: the study as it was written.
        origin: translates places where the validated data were resolved from the document.
        schema_of: looks up what is allowed at a place.
    """
    found: dict[tuple[str, ...], tuple[ErrorDetails, Path]] = {}
    for details in error.errors(include_url=False):
        path = origin(_place(details, document.data))
        key = (details["type"], str(document.mark(path)), *map(str, path[-1:]))  # like: copies
        found.setdefault(key, (details, path))
    order = {"extra_forbidden": 0, "missing": 2}
    (details, path), *more = sorted(found.values(), key=lambda item: order.get(item[0]["type"], 1))
    return located(_describe(_Case(details, path, document.data, schema_of)), document, len(more))


def located(problem: Problem, document: Document, n_more: int = 0) -> UserError:
    """The problem with the file and line of its place."""
    mark = document.mark(problem.path)
    more = f"; {n_more} more problem{'s' if n_more > 1 else ''} after this" if n_more else ""
    return UserError(f"{problem} ({mark}{more})")


def _place(details: ErrorDetails, data: Any) -> Path:  # noqa: ANN401
    """The place without the tags that pydantic puts in for the members of a union."""
    path: list[str | int] = []
    tagged = False  # kind: file has an entry of the name of its tag
    for step in details["loc"]:
        if step in _SHORT and not isinstance(data, dict):  # 0.1 or [1.0, 0.1] for a ramp
            path += [_SHORT[step]] if isinstance(data, list) else []
            continue
        is_tag = isinstance(step, str) and step.startswith("<")
        is_kind = not tagged and isinstance(data, dict) and data.get("kind") == step
        if not is_tag and not is_kind:
            path.append(step)
            data = get_value(data, (step,))
        tagged = is_kind
    context = details.get("ctx", {})
    problem = context.get("error")
    inner = problem.path if isinstance(problem, Problem) else context.get("path", ())
    return (*path, *inner)


@dataclass(frozen=True, slots=True)
class _Case:
    """One of pydantic's errors, and what is known about its place."""

    details: ErrorDetails
    path: Path
    data: Any
    schema_of: SchemaAt

    @property
    def context(self) -> Mapping[str, Any]:
        return self.details.get("ctx", {})

    @property
    def schema(self) -> Schema:
        return self.schema_of(self.path, self.data)

    @property
    def value(self) -> Any:  # noqa: ANN401
        """What the user wrote, or what was made of it where he wrote nothing."""
        return get_value(self.data, self.path, self.details["input"])


def _describe(case: _Case) -> Problem:
    """Place and sentence for one error."""
    error_type, path = case.details["type"], case.path
    if error_type in _SPECIAL:
        return _SPECIAL[error_type](case)
    got = f"got {show_value(case.value)}"
    if error_type in ("quantity", "smoothness", "aim"):
        return Problem(path, f"{got}, which {case.details['msg']}")
    if error_type in _NEEDED:
        cure = "; fill it in or remove the key" if case.value is None else _default(case.schema)
        return Problem(path, f"{got}, but {_NEEDED[error_type]} is needed{cure}")
    if error_type in _BOUNDS:
        allowed = _bounds(case.schema, case.context)
        return Problem(path, f"{got}, but it must be {allowed}{_default(case.schema)}")
    if isinstance(case.context.get("error"), Problem):
        return Problem(path, str(case.context["error"].text))
    return Problem(path, case.details["msg"].removeprefix("Value error, "))


def _unknown_key(case: _Case) -> Problem:
    known = list(case.schema_of(case.path[:-1], case.data).get("properties", ()))
    close = nearest(str(case.path[-1]), known)
    cure = f'did you mean "{close}"?' if close else f"allowed here are {', '.join(known)}"
    return Problem(case.path, f"unknown key; {cure}")


def _missing(case: _Case) -> Problem:
    """A missing key, or a list that is too short."""
    if isinstance(case.path[-1], int):
        outer = case.path[:-1]
        n_got = len(get_value(case.data, outer, ()))
        return Problem(outer, _count(n_got, case.schema_of(outer, case.data), {}))
    hint = case.schema.get("description", "").split(";")[0].rstrip(".")
    return Problem(case.path, f"missing, but it is needed; add it{f' ({hint})' if hint else ''}")


def _wrong_length(case: _Case) -> Problem:
    n_got = case.context["actual_length"]
    return Problem(case.path, _count(n_got, case.schema, case.context))


def _no_kind(case: _Case) -> Problem:
    mapping = case.schema.get("discriminator", {}).get("mapping", {})
    return Problem((*case.path, "kind"), f"missing; choose one of {', '.join(_quoted(mapping))}")


def _wrong_kind(case: _Case) -> Problem:
    path = (*case.path, "kind")
    return Problem(path, _not_allowed(get_value(case.data, path), case.context["expected_tags"]))


def _wrong_word(case: _Case) -> Problem:
    return Problem(case.path, _not_allowed(case.value, case.context["expected"]))


def _wrong_letters(case: _Case) -> Problem:
    text = (
        f"got {show_value(case.value)}, but only letters, digits and _ - . are allowed; rename it"
    )
    return Problem(case.path, text)


_SPECIAL: Mapping[str, Callable[[_Case], Problem]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "too_short": _wrong_length,
    "too_long": _wrong_length,
    "union_tag_not_found": _no_kind,
    "union_tag_invalid": _wrong_kind,
    "literal_error": _wrong_word,
    "string_pattern_mismatch": _wrong_letters,
}


def _count(got: int, schema: Schema, context: Mapping[str, Any]) -> str:
    low = schema.get("minItems", schema.get("minProperties", context.get("min_length")))
    high = schema.get("maxItems", context.get("max_length"))
    too_many = high is not None and got > high
    limit = high if too_many else low
    needed = f"{limit}" if low == high else f"at {'most' if too_many else 'least'} {limit}"
    cure = "remove the others" if too_many else "add what is missing"
    return f"got {got} entr{'y' if got == 1 else 'ies'}, but {needed} must be there; {cure}"


def _not_allowed(got: Any, expected: str) -> str:  # noqa: ANN401
    names = re.findall(r"'([^']*)'", expected)
    quoted = _quoted(names) or expected.split(" or ")
    close = nearest(str(got), names)
    *most, last = quoted
    allowed = f"{', '.join(most)} or {last}" if most else last
    start = f"got {show_value(got)}, but it must be {allowed}"
    return f'{start}; did you mean "{close}"?' if close else f"{start}; choose one"


def _bounds(schema: Schema, context: Mapping[str, Any]) -> str:
    """Both bounds of a number, from the schema if it knows them, and the unit."""
    numbers = [schema, *schema.get("anyOf", ())]
    known = {key: number[key] for number in numbers for key in _SIGNS if key in number}
    for open_end, closed_end in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if open_end in known:
            known.pop(closed_end, None)
    known = known or {key: context[key] for key in _SIGNS if key in context}
    unit = schema.get("x-unit", "1")
    parts = [f"{_SIGNS[key]} {show_value(limit)}" for key, limit in known.items()]
    return " and ".join(parts) + ("" if unit == "1" else f" {unit}")


def _default(schema: Schema) -> str:
    default, unit = schema.get("default"), schema.get("x-unit", "1")
    if default is None or isinstance(default, (dict, list)):
        return "; change it"
    return f"; the default is {show_value(default)}{'' if unit == '1' else f' {unit}'}"


def _quoted(names: Iterable[str]) -> list[str]:
    return [f'"{name}"' for name in names]
