"""Parts of the user's own (``kind: my_module:MyLoss``): recognised, and refused without trust."""

from collections.abc import Mapping
from typing import Any

from tomopt_tasks.config.document import Document
from tomopt_tasks.config.paths import Path, get_value, show_path
from tomopt_tasks.core import UserError
from tomopt_tasks.own import PART, digest_of, source_of, trusted

PLACES: Mapping[tuple[str, ...], tuple[str, ...]] = {
    ("loss",): (),
    ("inference",): ("predicts", "acceptance", "track_fit"),
    ("scenes", "*"): ("volumes", "target"),
    ("fit", "callbacks", "*"): ("first",),
    ("fit", "phases", "*", "callbacks", "*"): ("first",),
}
"""Where a part of the user's own may stand -> keys beside it that are the package's."""


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
        beside = next((keys for place, keys in PLACES.items() if _at(path[:-1], place)), None)
        if beside is None:
            text = "is code of your own, but only scenes, the inference, the loss and callbacks can"
            text += " be; choose a built-in kind"
            raise UserError(f"{show_path(path)}: {kind} {text} ({document.mark(path)})")
        try:
            digest = digest_of(source_of(kind))
        except UserError as error:
            raise UserError(f"{show_path(path)}: {error} ({document.mark(path)})") from error
        written = get_value(document.data, path[:-1], {})
        options = {key: written[key] for key in written if key not in ("kind", *beside)}
        for key in options:
            del written[key]
        written |= {"kind": "own", "part": kind, "sha256": digest, "options": options}


def _at(path: Path, place: tuple[str, ...]) -> bool:
    return len(path) == len(place) and all(
        want in ("*", step) for step, want in zip(path, place, strict=True)
    )
