"""Files of the user's own that a study names: known by their content, wherever they lie."""

import hashlib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_serializer

from tomopt_tasks.core import Config, UserError


class InputFile(Config):
    """One file, found beside the file that names it."""

    file: Annotated[str, Field(min_length=1)]
    """Relative to the file that names it."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Digest of the file; filled in when the study is read. One that was written and does not fit
    is refused."""

    @field_serializer("file")
    def _file(
        self,
        file: str,
        info: Any,  # noqa: ANN401 - SerializationInfo cannot be checked at run time
    ) -> str:
        """What a file is called enters no key: its digest does, once it is known."""
        return "" if self.sha256 and (info.context or {}).get("key") else file


def file_digest(file: Path) -> str:
    """The sha256 of a file, 64 hex digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_planned(entry: InputFile) -> bytes:
    """The content of a file that a study names.

    Raises:
        UserError: it is gone, or is not the one that the study was read with.
    """
    try:
        content = Path(entry.file).read_bytes()
    except OSError as error:
        raise UserError(f"no such file: {entry.file}; check the name and the folder") from error
    if entry.sha256 and hashlib.sha256(content).hexdigest() != entry.sha256:
        raise UserError(f"{entry.file} has changed since this was planned; run the study again")
    return content
