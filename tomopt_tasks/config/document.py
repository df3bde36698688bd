"""YAML 1.2 files as plain trees that remember the file and line of every entry."""

import copy
import difflib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tomopt_tasks.config.paths import Path, get_value, set_value, show_path
from tomopt_tasks.core import UserError

LIMIT = 100_000
"""Entries that a file may hold; aliases of aliases could otherwise fill the memory."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an entry was written."""

    where: str
    """A file as the user named it, or an option of the command line."""
    line: int | None = None
    """Counted from 1; None for an option."""

    def __str__(self) -> str:
        return self.where if self.line is None else f"{self.where}, line {self.line}"


@dataclass(slots=True)
class Document:
    """A tree of mappings, lists and scalars, and where each entry comes from."""

    data: dict[str, Any]
    label: str
    marks: dict[Path, Mark] = field(default_factory=dict)

    def mark(self, path: Path) -> Mark:
        """Where the entry was written, or the innermost entry around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.marks:
                return self.marks[path[:length]]
        return Mark(self.label)

    def subtree(self, path: Path) -> "Document":
        """A copy of what lies under a path, which must be a mapping."""
        inside = {p[len(path) :]: m for p, m in self.marks.items() if p[: len(path)] == path}
        return Document(copy.deepcopy(get_value(self.data, path)), self.label, inside)

    def graft(self, path: Path, part: "Document") -> None:
        """Replace what lies under a path, in place."""
        set_value(self.data, path, part.data)
        kept = {p: m for p, m in self.marks.items() if p[: len(path)] != path}
        own = {path: self.mark(path)}
        self.marks = kept | {(*path, *p): m for p, m in part.marks.items()} | own


def read_document(file: FilePath) -> Document:
    """Read one YAML file whose top is a mapping; messages name the file as it was given.

    Raises:
        UserError: no such file, not text, not YAML, a key twice, or the top is not a mapping.
    """
    return parse_document(read_text(file), str(file))


def parse_document(text: str, label: str) -> Document:
    """The tree of a YAML text; see ``read_document``."""
    node = _compose(text, label)
    if node is None:
        raise UserError(f"{label}: is empty, but a mapping of keys is needed; fill it in")
    if not isinstance(node, MappingNode):
        got = "a list" if isinstance(node, SequenceNode) else "a single value"
        raise UserError(
            f"{label}: holds {got}, but a mapping of keys is needed; write lines such as 'seed: 1'"
        )
    builder = _Builder(label)
    return Document(builder.build(node, ()), label, builder.marks)


def parse_value(text: str, label: str) -> Any:  # noqa: ANN401
    """The value that a YAML text means, e.g. ``20`` or ``[1 cm, 2 cm]``; empty is null."""
    node = _compose(text, label)
    return None if node is None else _Builder(label).build(node, ())


def nearest(name: str, names: list[str], cutoff: float = 0.6) -> str | None:
    """The name that was probably meant, if any is close."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    return found[0] if found else None


def read_text(file: FilePath) -> str:
    """The text of a file.

    Raises:
        UserError: no such file, or it cannot be read as text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        parent = file.parent
        names = [entry.name for entry in parent.iterdir()] if parent.is_dir() else []
        close = nearest(file.name, names, cutoff=0.7)
        cure = f'did you mean "{parent / close}"?' if close else "check the name and the folder"
        raise UserError(f"no such file: {file}; {cure}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise UserError(f"{file} cannot be read: {reason}; name a YAML file") from error


@lru_cache(maxsize=256)
def _compose(text: str, label: str) -> Node | None:
    """The nodes of a YAML text; members of a campaign read the same few files again and again."""
    try:
        return YAML(typ="safe", pure=True).compose(text)  # type: ignore[no-any-return]
    except YAMLError as error:
        raise _not_yaml(error, label) from error


def _not_yaml(error: YAMLError, label: str) -> UserError:
    where, problem = label, "it holds characters that text cannot have"
    if isinstance(error, MarkedYAMLError):
        problem = error.problem or error.context or "it cannot be read"
        if error.problem_mark is not None:
            mark = error.problem_mark
            where = f"{label}, line {mark.line + 1}, column {mark.column + 1}"
    return UserError(
        f"{where}: this is not YAML: {problem}; check colons, brackets and indentation there"
    )


class _Builder:
    """Turns YAML nodes into plain data and notes where each entry starts."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.marks: dict[Path, Mark] = {}
        self._open: list[Node] = []
        self._constructor = YAML(typ="safe", pure=True).constructor

    def build(self, node: Node, path: Path) -> Any:  # noqa: ANN401
        """The plain value of a node."""
        if any(node is parent for parent in self._open):
            raise self._error(node, path, "holds itself (by an alias); write it out")
        if len(self.marks) > LIMIT:
            raise self._error(node, (), f"holds more than {LIMIT} entries; write less")
        self.marks.setdefault(path, self._mark(node))
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        self._open.append(node)
        try:
            if isinstance(node, SequenceNode):
                return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: Node, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, ScalarNode) else None
            if key is None or key_node.tag != "tag:yaml.org,2002:str":
                got = "a list or mapping" if key is None else f"the key {key or 'null'}"
                raise self._error(key_node, path, f'got {got}, but keys are words; write it in ""')
            here = (*path, key)
            if key in found:
                first, second = self.marks[here].line, key_node.start_mark.line + 1
                lines = f"line {first}" if first == second else f"lines {first} and {second}"
                what = f"written twice; remove one ({self.label}, {lines})"
                raise UserError(f"{show_path(here)}: {what}")
            self.marks[here] = self._mark(key_node)
            found[key] = self.build(value_node, here)
        return found

    def _scalar(self, node: ScalarNode, path: Path) -> Any:  # noqa: ANN401
        try:
            return self._constructor.construct_object(node)
        except (YAMLError, ValueError) as error:
            what = f"the tag {node.tag} is not allowed; write a plain value"
            raise self._error(node, path, what) from error

    def _mark(self, node: Node) -> Mark:
        return Mark(self.label, node.start_mark.line + 1)

    def _error(self, node: Node, path: Path, what: str) -> UserError:
        place = show_path(path) or self.label
        return UserError(f"{place}: {what} ({self._mark(node)})")
