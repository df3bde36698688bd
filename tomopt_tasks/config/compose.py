"""From several files to one tree: ``extends``, ``--set``, ``like`` and detector files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from tomopt_tasks.config.document import Document, Mark, parse_document, parse_value, read_text
from tomopt_tasks.config.paths import Path, get_value, parse_path, set_value, show_path, show_value
from tomopt_tasks.config.version import bring_up_to_date
from tomopt_tasks.core import UserError

REMOVABLE = frozenset({"detectors", "groups", "optimiser", "panels", "per_parameter"})
"""Mappings with names of the user's own: ``name: null`` takes an inherited entry away."""

_MISSING = object()
Override = tuple[str, str] | tuple[str, str, Mark]
"""Place, YAML text, and where it was written, if that is not the command line."""


def compose(file: FilePath, overrides: Sequence[Override] = ()) -> Document:
    """The study as one tree: bases merged, overrides applied, references replaced.

    Args:
        file: the study file.
        overrides: (place, YAML text), e.g. ``("fit.phases[1].epochs", "20")``, and maybe where
            that was written; applied in order.

    Raises:
        UserError: a file is missing or no YAML, ``extends`` or ``like`` go in a circle, a place
            does not exist.
    """
    document = with_bases(file)
    bring_up_to_date(document, required=True)
    for place, text, *where in overrides:
        change_document(document, place, text, *where)
    for split in ("train", "valid", "test"):
        _expand_like(document, split, ())
    detectors = document.data.get("detectors")
    for name in detectors if isinstance(detectors, dict) else ():
        _insert_file(document, ("detectors", name))
    return document


def with_bases(file: FilePath, open_files: tuple[FilePath, ...] = ()) -> Document:
    """One file laid over the files that it extends; ``extends`` is relative to the file."""
    document = parse_document(read_text(file), str(file))
    bring_up_to_date(document, required=False)
    name = document.data.pop("extends", None)
    if name is None:
        return document
    mark = document.mark(("extends",))
    base = relative_file(name, mark, ("extends",))
    open_files = (*open_files, FilePath(os.path.realpath(file)))
    if FilePath(os.path.realpath(base)) in open_files:
        raise UserError(
            f"extends: {base} extends itself, directly or through others; end the circle ({mark})"
        )
    _require(base, ("extends",), mark)
    return overlay(with_bases(base, open_files), document)


def overlay(base: Document, over: Document) -> Document:
    """``over`` laid on ``base``: mappings merge key by key, lists and values replace.

    A mapping with another ``kind``, or a detector given in another way, replaces as a whole;
    ``null`` removes an inherited detector, group, panel override or optimiser.
    """
    data = _merge(base.data, over.data, ())
    marks = {
        path: mark
        for path, mark in (base.marks | over.marks).items()
        if get_value(data, path, _MISSING) is not _MISSING
    }
    return Document(data, over.label, marks)


def _merge(base: Any, over: Any, path: Path) -> Any:  # noqa: ANN401
    if not isinstance(base, dict) or not isinstance(over, dict) or _replaces(base, over):
        return over
    merged = dict(base)
    removable = bool(path) and path[-1] in REMOVABLE
    for key, value in over.items():
        if value is None and removable:
            merged.pop(key, None)
        else:
            merged[key] = _merge(base[key], value, (*path, key)) if key in base else value
    return merged


def _replaces(base: Mapping[str, Any], over: Mapping[str, Any]) -> bool:
    other_kind = "kind" in over and "kind" in base and over["kind"] != base["kind"]
    other_form = "file" in over or "layers" in over or ("layers" in base and "groups" in over)
    return other_kind or other_form


def change_document(document: Document, place: str, text: str, where: Mark | None = None) -> None:
    """Put the value that a YAML text means at a place, as ``--set`` does.

    Args:
        document: changed in place.
        place: e.g. ``fit.phases[1].epochs``.
        text: YAML.
        where: it was written; default: on the command line.
    """
    mark = where or Mark(f"--set {place}={text}")
    path = parse_path(place)
    value = parse_value(text, str(mark))
    path = set_value(document.data, path, value)
    document.marks = {p: m for p, m in document.marks.items() if p[: len(path)] != path}
    document.marks[path] = mark
    for length in range(1, len(path)):
        document.marks.setdefault(path[:length], mark)
    if value is None and len(path) > 1 and path[-2] in REMOVABLE:
        del get_value(document.data, path[:-1])[path[-1]]


def _expand_like(document: Document, split: str, asking: tuple[str, ...]) -> None:
    """Replace ``{like: train, ...}`` by a copy of that scene with the other keys laid over it."""
    path: Path = ("scenes", split)
    scene = get_value(document.data, path)
    if not isinstance(scene, dict) or "like" not in scene:
        return
    here, mark = (*path, "like"), document.mark((*path, "like"))
    other = scene["like"]
    asking = (*asking, split)
    if other not in ("train", "valid", "test") or other in asking:
        raise UserError(
            f"{show_path(here)}: got {show_value(other)}, but it must name another scene "
            f"(train, valid or test), and not in a circle; change it ({mark})"
        )
    _expand_like(document, other, asking)
    own = document.subtree(path)
    del own.data["like"]
    source: Path = ("scenes", other)
    if isinstance(get_value(document.data, source), dict):
        own = overlay(document.subtree(source), own)
    document.graft(path, own)


def _insert_file(document: Document, path: Path) -> None:
    """Replace ``{file: F, ...}`` by the content of F with the other keys laid over it."""
    part = get_value(document.data, path)
    if not isinstance(part, dict) or "file" not in part:
        return
    here = (*path, "file")
    mark = document.mark(here)
    file = relative_file(part["file"], mark if mark.line else Mark(document.label), here)
    _require(file, here, mark)
    content = with_bases(file)
    content.data.pop("version", None)
    own = document.subtree(path)
    del own.data["file"]
    document.graft(path, overlay(content, own))


def relative_file(name: Any, mark: Mark, path: Path) -> FilePath:  # noqa: ANN401
    """The file that an entry names, relative to the file in which it was written.

    Raises:
        UserError: it names none.
    """
    if not isinstance(name, str) or not name:
        got = f"got {show_value(name)}, but the name of a file is needed; write it"
        raise UserError(f"{show_path(path)}: {got} ({mark})")
    return FilePath(os.path.normpath(FilePath(mark.where).parent / name))


def _require(file: FilePath, path: Path, mark: Mark) -> None:
    """Read the file once, so that the message can say who asked for it."""
    try:
        read_text(file)
    except UserError as error:
        raise UserError(f"{show_path(path)}: {error} ({mark})") from error
