"""Where the project lies, what of it is made by runs, and what else they write for people."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tomopt_tasks.core import UserError

MARKS = ("prefect.yaml", "pyproject.toml", ".tomopt")
"""Entries of which one marks the project folder."""


def project_root() -> Path:
    """The nearest folder around the current one that is marked as a project, else the current."""
    here = Path.cwd()
    folders = (here, *here.parents)
    marked = (folder for folder in folders if any((folder / mark).exists() for mark in MARKS))
    return next(marked, here)


def default_store() -> str:
    """The store of a run that names none: ``TOMOPT_STORE``, else ``data/store`` of the project."""
    return os.environ.get("TOMOPT_STORE") or str(project_root() / "data" / "store")


def state_folder() -> Path:
    """Where Prefect keeps its database and records: ``.tomopt`` of the project."""
    return project_root() / ".tomopt"


@contextmanager
def writing(place: Path, cure: str) -> Iterator[None]:
    """Turn a failure to write a file for people into one sentence.

    Args:
        place: the file or folder.
        cure: what to do about it.

    Raises:
        UserError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UserError(f"cannot write {place}: {error.strerror or error}; {cure}") from error
