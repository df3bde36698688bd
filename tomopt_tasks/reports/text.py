"""Tables for a terminal."""

from collections.abc import Mapping, Sequence
from unicodedata import east_asian_width


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
