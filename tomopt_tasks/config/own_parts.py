"""Parts of the user's own (``kind: my_module:MyLoss``): recognised, and refused without trust."""

import re
from typing import Any

from tomopt_tasks.config.document import Document
from tomopt_tasks.config.paths import Path, show_path
from tomopt_tasks.core import UserError

OWN_PART = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""A Python module and a class in it."""


def own_parts(document: Document) -> dict[Path, str]:
    """Places of every ``kind`` that names a class of the user's own."""
    found: dict[Path, str] = {}

    def walk(value: Any, path: Path) -> None:  # noqa: ANN401
        if isinstance(value, dict):
            kind = value.get("kind")
            if isinstance(kind, str) and OWN_PART.fullmatch(kind):
                found[(*path, "kind")] = kind
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, (*path, index))

    walk(document.data, ())
    return found


def refuse_own_parts(document: Document) -> None:
    """Refuse code that the user has not said to trust.

    Raises:
        UserError: a ``kind`` names a class of the user's own.
    """
    for path, kind in own_parts(document).items():
        raise UserError(
            f"{show_path(path)}: {kind} is Python code of your own, which a study file alone may "
            f"not start; allow it with --trust PATH, the folder that holds its module "
            f"({document.mark(path)})"
        )
