"""Tables of muons that a study names: found beside the file that names them, and digested."""

from typing import Any

from tomopt_tasks.config.compose import relative_file
from tomopt_tasks.config.document import Document, Mark
from tomopt_tasks.config.paths import Path, get_value, show_path
from tomopt_tasks.core import UserError
from tomopt_tasks.muons.settings import table_digest

_SOURCE: Path = ("muons", "source")


def admit_muon_tables(document: Document) -> None:
    """Put the full name and the digest of each table in its place; none is opened as a table.

    Raises:
        UserError: there is no such file, or it is not the one whose digest was written.
    """
    if get_value(document.data, (*_SOURCE, "kind")) != "table":
        return
    for split in ("train", "valid", "test"):
        entry = get_value(document.data, (*_SOURCE, split))
        if isinstance(entry, dict) and "file" in entry:
            _admit(document, entry, (*_SOURCE, split))


def _admit(document: Document, entry: dict[str, Any], path: Path) -> None:
    here = (*path, "file")
    mark = document.mark(here)
    file = relative_file(
        entry["file"], mark if mark.line else Mark(document.label), here
    ).absolute()
    try:
        found = table_digest(file)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        text = f"{file} cannot be read: {reason}; name a table of muons (.csv, .parquet or .npz)"
        raise UserError(f"{show_path(here)}: {text} ({mark})") from error
    written = entry.get("sha256")
    if written and written != found:
        text = f"{file} has the digest {found}, not the written one; correct either"
        raise UserError(f"{show_path((*path, 'sha256'))}: {text} ({mark})")
    entry |= {"file": str(file), "sha256": found}
