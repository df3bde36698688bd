"""Parts of the user's own: found in trusted folders only, and only as they were when planned.

A study says what to run, so it can never say whether to trust it: that is up to who starts the
command (``--trust PATH``), and holds for its processes.
"""

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from tomopt_tasks.core import Config, UserError

TRUST = "TOMOPT_TRUST"
"""Environment variable with the trusted folders."""

PART = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
"""A Python module and a class in it."""

Option = bool | int | float | str | None


class OwnPart(Config):
    """A part of the user's own; written as ``kind: my_module:MyPart`` beside its options."""

    kind: Literal["own"] = "own"
    """Name of this kind."""
    part: str = Field(default="my_module:MyPart", max_length=200)
    """Module and class."""
    sha256: str = Field(default="", max_length=64)
    """Digest of the Python files beside the module; part of the key."""
    options: dict[str, Option | tuple[Option, ...]] = Field(default_factory=dict)
    """Arguments of the class."""


def trust(folders: Sequence[Path]) -> None:
    """Trust the Python code in some folders, in this process and those that it starts.

    Raises:
        UserError: there is no such folder.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"--trust {folder}: no such folder; name that of the module")
    if folders:
        os.environ[TRUST] = os.pathsep.join(str(folder.resolve()) for folder in folders)


def trusted() -> list[Path]:
    """The folders that are trusted."""
    return [Path(folder) for folder in os.environ.get(TRUST, "").split(os.pathsep) if folder]


def source_of(part: str) -> Path:
    """The file of a part in the trusted folders.

    Raises:
        UserError: there is none.
    """
    if not PART.fullmatch(part):
        raise UserError(f"{part} names no class; write, for example, my_module:MyLoss")
    name = part.partition(":")[0].replace(".", "/") + ".py"
    for folder in trusted():
        if (folder / name).is_file():
            return folder / name
    shown = ", ".join(str(folder) for folder in trusted()) or "none"
    raise UserError(
        f"{part} is not in a trusted folder ({shown}); start with --trust PATH, the folder that "
        f"holds {name}"
    )


def digest_of(file: Path) -> str:
    """The sha256 over all Python files beside a module, itself included."""
    total = hashlib.sha256()
    for each in sorted(file.parent.glob("*.py")):
        total.update(f"{each.name}:{hashlib.sha256(each.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def own_class(settings: OwnPart) -> Any:
    """The class, imported now.

    Raises:
        UserError: it is not trusted, has changed since the run was planned, or has no such class.
    """
    file = source_of(settings.part)
    if digest_of(file) != settings.sha256:
        raise UserError(
            f"{settings.part}: the code in {file.parent} is not the one that this was planned "
            "with; run the study again"
        )
    return _class(settings.part, file, settings.sha256)


def build_own(settings: OwnPart, *arguments: Any, **more: Any) -> Any:
    """The part, made from its options.

    Args:
        settings: which part, and its options.
        arguments: what the package itself gives to the class before the options.
        more: what the package itself gives by name.

    Raises:
        UserError: as ``own_class``, or the class does not take these options.
    """
    made = own_class(settings)
    try:
        return made(*arguments, **more, **settings.options)
    except (TypeError, ValueError) as error:
        raise UserError(f"{settings.part} cannot be made with its options: {error}") from error


@cache
def _class(part: str, file: Path, digest: str) -> Any:
    module, _, name = part.partition(":")
    spec = importlib.util.spec_from_file_location(f"tomopt_own_{digest[:12]}_{module}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{part}: {file} is no Python module; rename it")
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(loaded)
        return getattr(loaded, name)
    except (ImportError, SyntaxError, NameError, AttributeError) as error:
        raise UserError(f"{part} cannot be imported from {file}: {error}") from error
