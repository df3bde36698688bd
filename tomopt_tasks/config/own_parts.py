"""Parts of the user's own (``kind: my_module:MyLoss``): recognised, and refused without trust."""

from typing import Any

from tomopt_tasks.config.document import Document
from tomopt_tasks.config.paths import Path, show_path
from tomopt_tasks.core import UserError
from tomopt_tasks.losses.own import PART, digest_of, source_of, trusted


def own_parts(document: Document) -> dict[Path, str]:
    """Places of every ``kind`` that names a class of the user's own."""
    found: dict[Path, str] = {}

    def walk(value: Any, path: Path) -> None:  # noqa: ANN401
        if isinstance(value, dict):
            kind = value.get("kind")
            if isinstance(kind, str) and PART.fullmatch(kind):
                found[(*path, "kind")] = kind
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for index, inner in enumerate(value):
                walk(inner, (*path, index))

    walk(document.data, ())
    return found


def admit_own_parts(document: Document) -> None:
    """Put the digest of its code beside each part of the user's own; nothing is imported.

    Raises:
        UserError: the part is not trusted, not found, or of a family that takes none.
    """
    for path, kind in own_parts(document).items():
        if not trusted():
            raise UserError(
                f"{show_path(path)}: {kind} is Python code of your own, which a study file alone "
                f"may not start; allow it with --trust PATH, the folder that holds its module "
                f"({document.mark(path)})"
            )
        if path != ("loss", "kind"):
            text = "is code of your own, but only the loss can be so far; choose a built-in kind"
            raise UserError(f"{show_path(path)}: {kind} {text} ({document.mark(path)})")
        try:
            digest = digest_of(source_of(kind))
        except UserError as error:
            raise UserError(f"{show_path(path)}: {error} ({document.mark(path)})") from error
        options = {key: value for key, value in document.data["loss"].items() if key != "kind"}
        document.data["loss"] = {"kind": "own", "part": kind, "sha256": digest, "options": options}
