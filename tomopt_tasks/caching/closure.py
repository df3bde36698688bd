"""Which code a stage runs, found in the source: the closure of definitions that its body names.

Starting from the stage's function in ``stages.py``, every top-level definition (function, class,
constant) that a reached definition names is reached too, through imports at any depth, re-exports,
lazy tables of packages and modules named in strings. What is hashed of each is its syntax tree
without comments, layout and docstrings. So an edit of a helper three modules down reruns the stages
that reach it, and no others; nothing has to be declared by hand. A reached class counts whole.

A data file of the package counts where a definition names it in a string.

Not followed: the carriers, which move values but do not make them (``CARRIERS``), and other
people's packages (torch is in the numerics of the key).
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from tomopt_tasks.caching.syntax import DATA, LOOSE, WHOLE, Definition, Module, Place, read_module

CARRIERS = frozenset({"interrupts", "store", "quantities", "runs"})
"""The store's format has a version of its own; quantities make numbers that the key holds; signals
decide when a stage goes on, not what it makes."""


class Sources:
    """The source files of one package, parsed when first needed."""

    def __init__(self, root: Path, carriers: frozenset[str] = CARRIERS) -> None:
        """Take stock of the package whose folder is ``root``."""
        self.files: dict[str, Path] = {}
        self._carriers = tuple(f"{root.name}.{carrier}" for carrier in sorted(carriers))
        self._modules = {DATA: Module()}
        for path in sorted(root.rglob("*.*")):
            if path.suffix == ".py":
                parts = path.relative_to(root.parent).with_suffix("").parts
                self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
            elif path.suffix != ".pyc":
                content = Definition([hashlib.sha256(path.read_bytes()).hexdigest()])
                self._modules[DATA].definitions[path.name] = content

    def digest(self, module: str, name: str) -> str:
        """The sha256 over all that ``name`` of ``module`` reaches."""
        return _sha256(f"{file}={code}" for file, code in self.parts(module, name).items())

    def parts(self, module: str, name: str) -> dict[str, str]:
        """Module -> digest of its reached definitions, so that a change can be placed."""
        found: dict[str, list[str]] = {}
        for where, what in sorted(self.closure(module, name)):
            code = self._module(where).definitions[what].digest
            found.setdefault(where, []).append(f"{what}={code}")
        return {where: _sha256(codes) for where, codes in found.items()}

    def closure(self, module: str, name: str) -> set[Place]:
        """All definitions that ``name`` of ``module`` reaches, itself included."""
        reached: set[Place] = set()
        waiting = list(self._resolve(module, name))
        while waiting:
            place = waiting.pop()
            if place not in reached:
                reached.add(place)
                for use in self._module(place[0]).definitions[place[1]].uses:
                    waiting.extend(self._resolve(*use))
        return reached

    def _resolve(self, module: str, name: str) -> Iterator[Place]:
        """The definitions that a name stands for; none for what is not of this package."""
        if module == DATA:
            yield module, name
        if module not in self.files or self._is_carrier(module):
            return
        source = self._module(module)
        if name in source.definitions:
            yield from ((module, each) for each in (name, LOOSE) if each in source.definitions)
        elif name in source.imports:
            yield from self._resolve(*source.imports[name])
        elif f"{module}.{name}" in self.files:
            yield from self._resolve(f"{module}.{name}", WHOLE)
        elif name in source.lazy:
            yield from self._resolve(source.lazy[name], name)
        else:  # the whole module, or a name that only running it would tell
            yield from ((module, each) for each in source.definitions)

    def _is_carrier(self, module: str) -> bool:
        return any(module == name or module.startswith(f"{name}.") for name in self._carriers)

    def _module(self, name: str) -> Module:
        if name not in self._modules:
            source, data = self.files[name].read_bytes(), self._modules[DATA].definitions
            self._modules[name] = read_module(name, source, self.files, data)
        return self._modules[name]


@cache
def package_sources() -> Sources:
    """The sources of this package, read once per process."""
    return Sources(Path(__file__).parent.parent)


@cache
def code_digest(stage: str) -> str:
    """The digest of the code that a stage runs."""
    return package_sources().digest("tomopt_tasks.stages", stage)


@cache
def code_parts(stage: str) -> dict[str, str]:
    """Module -> digest of what a stage runs of it."""
    return package_sources().parts("tomopt_tasks.stages", stage)


def _sha256(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
