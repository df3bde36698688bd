"""What one source file defines, and which names each definition uses; see ``closure``."""

import ast
import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

WHOLE = "*"
"""Stands for every definition of a module."""

LOOSE = "<module>"
"""Stands for the statements of a module that define no name; they count with any of its names."""

DATA = "<data>"
"""Stands for the module that the package's data files are defined in, by file name."""

Place = tuple[str, str]
"""Full module name and the name of a definition in it."""

_WORD = re.compile(r"[A-Za-z_]\w*")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_NOTED = {ast.Constant, ast.Import, ast.ImportFrom}
"""Nodes that :func:`_note` looks at."""


@dataclass
class Definition:
    """A top-level name of a module: the digest of what it says, and what it uses."""

    text: list[str] = field(default_factory=list)
    uses: set[Place] = field(default_factory=set)

    @property
    def digest(self) -> str:
        """The sha256 of the syntax tree."""
        return hashlib.sha256("\x1f".join(self.text).encode()).hexdigest()


@dataclass
class Module:
    """What a source file defines and which names it imports from the package."""

    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, Place] = field(default_factory=dict)
    lazy: dict[str, str] = field(default_factory=dict)


@dataclass
class _Seen:
    """What a statement says, and the names met in it."""

    package: str
    text: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    dotted: set[Place] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    imports: dict[str, Place] = field(default_factory=dict)


def read_module(
    name: str, source: bytes, modules: Collection[str], data: Collection[str] = ()
) -> Module:
    """Take a source file apart.

    Args:
        name: full name of the module.
        source: its text.
        modules: full names of all modules of the package.
        data: names of its data files.
    """
    module = Module()
    package = name.partition(".")[0]
    words = {"__name__": name}
    found: list[tuple[str, _Seen]] = []
    for names, statement in _statements(ast.parse(source).body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            module.imports.update(_imported(statement, package))
            continue
        seen = _Seen(package)
        _describe(statement, seen)
        for each in names:
            module.definitions.setdefault(each, Definition()).text.extend(seen.text)
            found.append((each, seen))
        words |= _constants(statement, words)
        module.lazy.update(_table(statement, words, modules))
    for each, seen in found:
        module.definitions[each].uses |= _uses(name, module, seen, modules)
        module.definitions[each].uses |= {(DATA, file) for file in seen.strings if file in data}
    return module


def _statements(body: list[ast.stmt]) -> Iterator[tuple[list[str], ast.stmt]]:
    """Each top-level statement with the names that it defines; ``if`` and ``try`` are opened."""
    for node in body:
        if isinstance(node, ast.If | ast.Try):
            parts = (getattr(node, part, []) for part in ("body", "orelse", "finalbody"))
            for part in parts:
                yield from _statements(part)
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)
            if isinstance(node, ast.If):
                yield [LOOSE], ast.Expr(node.test)
        elif not _is_docstring(node):
            yield _defined(node) or [LOOSE], node


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        return [] if node.name == "_" else [node.name]  # `_`: registered with a dispatcher
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign | ast.AugAssign):
        targets = [node.target]
    flat = [part for each in targets for part in (getattr(each, "elts", None) or [each])]
    return [_base(each) for each in flat if _base(each)]


def _base(node: ast.expr) -> str:
    """The name at the root of ``a``, ``a.b`` or ``a[0].b``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _describe(node: ast.AST, seen: _Seen) -> None:
    """Append the tree's text, without strings that stand alone, and note the names in it."""
    seen.text.append(type(node).__name__)
    if _is_name(node, seen):
        return
    if type(node) in _NOTED:
        _note(node, seen)
    for name in node._fields:
        value = getattr(node, name, None)
        if type(value) is list:
            _describe_all(value, seen)
        elif not isinstance(value, ast.AST):
            seen.text.append(repr(value))
        elif name != "ctx":  # whether it is read or set follows from where it stands
            _describe(value, seen)


def _describe_all(nodes: list[object], seen: _Seen) -> None:
    seen.text.append("[")
    for node in nodes:
        if not isinstance(node, ast.AST):
            seen.text.append(repr(node))
        elif type(node) is not ast.Expr or not _is_docstring(node):
            _describe(node, seen)
    seen.text.append("]")


def _is_name(node: ast.AST, seen: _Seen) -> bool:
    """Note a name, or a name with an attribute; they are most of a tree."""
    if type(node) is ast.Name:
        seen.names.add(node.id)
        seen.text.append(node.id)
        return True
    if type(node) is ast.Attribute and type(node.value) is ast.Name:
        seen.dotted.add((node.value.id, node.attr))  # not the whole module `rng` in `rng.stream`
        seen.text.append(f"{node.value.id}.{node.attr}")
        return True
    return False


def _note(node: ast.AST, seen: _Seen) -> None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        seen.strings.add(node.value)
    elif isinstance(node, ast.Import | ast.ImportFrom):
        seen.imports.update(_imported(node, seen.package))


def _imported(node: ast.Import | ast.ImportFrom, package: str) -> dict[str, Place]:
    """Local name -> place, for what comes from the package."""
    if isinstance(node, ast.ImportFrom):
        source = node.module or ""
        if source.partition(".")[0] != package:
            return {}
        return {each.asname or each.name: (source, each.name) for each in node.names}
    ours = [each for each in node.names if each.name.partition(".")[0] == package]
    return {each.asname or each.name: (each.name, WHOLE) for each in ours}


def _constants(statement: ast.stmt, words: dict[str, str]) -> dict[str, str]:
    """``NAME = "text"``, with text that the words known so far can tell."""
    if isinstance(statement, ast.Assign) and (text := _text(statement.value, words)):
        return dict.fromkeys(_defined(statement), text)
    return {}


def _text(node: ast.expr | None, words: dict[str, str]) -> str:
    """What a literal, a known name or an f-string of these says; empty if unknown."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Name):
        return words.get(node.id, "")
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, words)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, words) for part in node.values)
    return ""


def _table(statement: ast.stmt, words: dict[str, str], modules: Collection[str]) -> dict[str, str]:
    """Names that a package takes from modules when asked, from a literal ``{name: module}``."""
    table: dict[str, str] = {}
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        return table
    for node in ast.walk(statement):
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            table |= {_text(key, words): _text(value, words) for key, value in pairs}
    return {name: module for name, module in table.items() if name and module in modules}


def _uses(name: str, module: Module, seen: _Seen, modules: Collection[str]) -> set[Place]:
    """The places of the package that a statement names."""
    imports = module.imports | seen.imports
    words = seen.names | _quoted(seen.strings)
    bases = {base for base, _ in seen.dotted}
    uses = {(name, each) for each in (words | bases) & module.definitions.keys()}
    uses |= {imports[each] for each in words & imports.keys()}
    if name.partition(".")[0] in bases:  # `import package.module`, then the full name
        uses |= {place for local, place in imports.items() if "." in local}
    for base, attribute in seen.dotted:
        if base in imports:
            where, what = imports[base]
            target = where if what == WHOLE else f"{where}.{what}"
            uses.add((target, attribute) if target in modules else imports[base])
    for text in seen.strings:
        where, _, what = text.partition(":")
        if where in modules:
            uses.add((where, what or WHOLE))
    return uses


def _quoted(strings: set[str]) -> set[str]:
    """Words of short strings: annotations may be quoted."""
    return {word for text in strings if len(text) < 80 for word in _WORD.findall(text)}
