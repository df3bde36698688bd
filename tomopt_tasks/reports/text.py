"""What a command says: facts as JSON for programs, lines and tables for a terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import east_asian_width


@dataclass(frozen=True)
class Answer:
    """The facts, the lines that say them, and the exit code."""

    data: Any
    lines: Sequence[str]
    code: int = 0


def json_text(data: Any) -> str:  # noqa: ANN401
    """One JSON document; what JSON has no number for (NaN, infinity) is null."""
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    return [_finite(item) for item in value]


def columns(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Equal rows under a header, in aligned columns; nothing for no rows."""
    if not rows:
        return []
    names = list(rows[0])
    cells = [names, *([row[name] for name in names] for row in rows)]
    wide = [max(_width(line[i]) for line in cells) for i in range(len(names))]
    lines = [
        "  ".join(cell + " " * (w - _width(cell)) for cell, w in zip(line, wide, strict=True))
        for line in cells
    ]
    return [line.rstrip() for line in (lines[0], "  ".join("-" * w for w in wide), *lines[1:])]


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
