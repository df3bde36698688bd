"""Places in a study file: ``detectors.start.groups.above.z[2]``, as text and as a tuple."""

import re
from collections.abc import Sequence
from typing import Any

from tomopt_tasks.core import UserError

Path = tuple[str | int, ...]
"""Keys and list positions from the top of the file."""

_PLAIN = re.compile(r"[\w-]+")
_STEP = re.compile(
    r"""\.?(?:\[(?P<index>\d+)\]|\["(?P<quoted>[^"]+)"\]|"(?P<bare>[^"]+)"|(?P<word>[^.\["=\s]+))"""
)


def show_path(path: Sequence[str | int]) -> str:
    """The path as a user writes it: ``fit.phases[1].optimiser["xy.above"]``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{step}"]'
    return text


def show_value(value: Any) -> str:  # noqa: ANN401
    """A value as the user would write it; long ones in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    return f"{value:g}" if isinstance(value, float) else str(value)


def parse_path(text: str) -> Path:
    """The path that ``fit.phases[1].epochs`` or ``fit.phases.1.epochs`` means.

    A number between dots stays a word; ``set_value`` reads it as a position where there is a list.

    Raises:
        UserError: not a path.
    """
    steps: list[str | int] = []
    position = 0
    while position < len(text):
        found = _STEP.match(text, position)
        if found is None or (position == 0 and text.startswith((".", "["))):
            raise UserError(
                f"--set {text}: not a place in a study file; write for example fit.phases[1].epochs"
            )
        index = found.group("index")
        word = found.group("quoted") or found.group("bare") or found.group("word")
        steps.append(word if index is None else int(index))
        position = found.end()
    if not steps:
        raise UserError("--set: the place is missing; write for example --set world.voxel=0.1")
    return tuple(steps)


def get_value(tree: Any, path: Sequence[str | int], default: Any = None) -> Any:  # noqa: ANN401
    """The value at a path, or ``default`` where the path leads nowhere."""
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return default
    return tree


def set_value(tree: Any, path: Path, value: Any) -> Path:  # noqa: ANN401
    """Put a value at a path of a tree of mappings and lists, in place.

    Missing mappings are made; lists do not grow.

    Returns:
        The path with list positions as numbers.

    Raises:
        UserError: the path goes through a value, or outside a list.
    """
    done: Path = ()
    for written in path[:-1]:
        step = _position(tree, written, done)
        done = (*done, step)
        if isinstance(tree, dict) and not isinstance(tree.get(step), (dict, list)):
            if tree.get(step) is not None:
                raise UserError(
                    f"{show_path(done)}: holds {show_value(tree[step])}, so nothing can be set "
                    f"inside it; set {show_path(done)} itself (--set {show_path(path)})"
                )
            if isinstance(path[len(done)], int):
                raise UserError(
                    f"{show_path(done)}: there is no list here to change; set it as a whole "
                    f"(--set {show_path(path)})"
                )
            tree[step] = {}
        tree = tree[step]
    last = _position(tree, path[-1], done)
    tree[last] = value
    return (*done, last)


def _position(tree: Any, step: str | int, done: Path) -> str | int:  # noqa: ANN401
    if isinstance(tree, dict):
        return str(step)
    if not isinstance(tree, list):
        raise UserError(
            f"{show_path(done)}: holds {show_value(tree)}, so nothing can be set inside it"
        )
    number = int(step) if str(step).isdecimal() else None
    if number is None or number >= len(tree):
        raise UserError(
            f"{show_path(done)}: got position {step}, but the list has {len(tree)} entries, "
            f"counted from 0; change the position or write the whole list"
        )
    return number
