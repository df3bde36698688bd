"""The version of study and detector files: checked, and older files brought up to date."""

from collections.abc import Callable
from typing import Any, Final

from tomopt_tasks.config.document import Document
from tomopt_tasks.config.paths import show_value
from tomopt_tasks.core import UserError

VERSION: Final = 1
"""Version of the files that this code writes and reads."""

Migration = Callable[[dict[str, Any]], dict[str, Any]]

MIGRATIONS: dict[int, Migration] = {}
"""Version n -> how a tree of version n becomes one of version n + 1."""


def bring_up_to_date(document: Document, *, required: bool) -> Document:
    """Check ``version`` and apply the migrations that the file needs.

    Args:
        document: as read; its data may be replaced.
        required: refuse a file that states no version; else it counts as the present one.

    Raises:
        UserError: no version, a newer one, one too old, or not a whole number.
    """
    if "version" not in document.data and not required:
        return document
    got = document.data.get("version")
    where = document.mark(("version",))
    if got is None:
        raise UserError(f"version: missing, but it is needed; add version: {VERSION} ({where})")
    if not isinstance(got, int) or isinstance(got, bool) or got < 1:
        raise UserError(
            f"version: got {show_value(got)}, but a whole number is needed; write {VERSION} "
            f"({where})"
        )
    if got > VERSION:
        raise UserError(
            f"version: got {got}, but this tomopt reads up to version {VERSION}; update tomopt "
            f"({where})"
        )
    for step in range(got, VERSION):
        if step not in MIGRATIONS:
            raise UserError(
                f"version: got {got}, which is too old to be read; write the study anew, see "
                f"`tomopt schema` ({where})"
            )
        document.data = MIGRATIONS[step](document.data)
    document.data["version"] = VERSION
    return document
