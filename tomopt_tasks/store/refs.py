"""A ref names one committed object; keys, kinds and paths are checked here and nowhere else."""

import re
from typing import Annotated

from pydantic import Field, JsonValue

from tomopt_tasks.core import Config, UserError

KEY = re.compile(r"[0-9a-f]{64}")
KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
RESERVED_KINDS = frozenset({"pins", "reports", "runs"})
RECORD_SUFFIX = ".zarr.zip"
MANIFEST_SUFFIX = ".json"
TOMBSTONE_SUFFIX = ".gone.json"

Digest = Annotated[str, Field(pattern=r"\A[0-9a-f]{64}\z")]


class Ref(Config):
    """The name, the content digest and the metrics of one committed object."""

    kind: Annotated[str, Field(pattern=r"\A[a-z][a-z0-9_]{0,63}\z")]
    """What it is: volumes, bank, checkpoint, predictions, evaluation."""
    key: Digest
    """sha256 of everything that the object is a function of."""
    sha256: Digest
    """Digest of the content: of a record's bytes, of a dataset's arrays and attributes."""
    nbytes: Annotated[int, Field(ge=0)]
    """Stored size [bytes]."""
    metrics: dict[str, JsonValue] = Field(default_factory=dict)
    """Small numbers that travel with the ref, so that plots need no object."""


def check_name(kind: str, key: str) -> None:
    """Refuse anything that is not a kind and a key, before it becomes a path."""
    if not isinstance(kind, str) or not KIND.fullmatch(kind) or kind in RESERVED_KINDS:
        msg = f"store kind {kind!r} is not a lower-case word such as 'checkpoint'; rename it"
        raise UserError(msg)
    if not isinstance(key, str) or not KEY.fullmatch(key):
        msg = f"store key {key!r} is not 64 lower-case hex digits; use a sha256 hexdigest"
        raise UserError(msg)


def check_run(run_id: str) -> None:
    """Refuse a run id that is not a plain file name."""
    if not isinstance(run_id, str) or not RUN.fullmatch(run_id):
        msg = (
            f"run id {run_id!r} is not a plain name; use letters, digits, '.', '_' and '-' "
            "(at most 128, not starting with a sign)"
        )
        raise UserError(msg)


def base_path(kind: str, key: str) -> str:
    """Path of an object without its suffix."""
    check_name(kind, key)
    return f"{kind}/{key[:2]}/{key}"


def record_path(kind: str, key: str) -> str:
    """Path of a record."""
    return base_path(kind, key) + RECORD_SUFFIX


def manifest_path(kind: str, key: str) -> str:
    """Path of a dataset's manifest."""
    return base_path(kind, key) + MANIFEST_SUFFIX
