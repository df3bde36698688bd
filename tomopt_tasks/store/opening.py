"""Open a store: a folder, or ``s3://bucket/prefix`` with the extra ``s3``."""

import re
from pathlib import Path

from tomopt_tasks.core import UserError
from tomopt_tasks.store.backend import Backend
from tomopt_tasks.store.errors import Damage
from tomopt_tasks.store.formats import seal, unseal
from tomopt_tasks.store.local import LocalBackend
from tomopt_tasks.store.store import Store

MARK = "STORE.json"
MAX_MARK_BYTES = 2**16
ABOUT = "Immutable objects <kind>/<key[:2]>/<key>, named by what they are made from; do not edit."


def open_store(url: str | Path, create: bool = True) -> Store:  # noqa: FBT001, FBT002
    """Open a store, and by default create it.

    Args:
        url: a folder, or ``s3://bucket/prefix`` (credentials and endpoint from AWS_* variables).
        create: make the store where there is none.

    Raises:
        UserError: no store there, of a newer version, or not readable.
    """
    backend = _backend(str(url))
    blob = backend.get(MARK, MAX_MARK_BYTES)
    if blob is None:
        if not create:
            msg = f"there is no store at {backend.url}; run a study first or check --store"
            raise UserError(msg)
        backend.put_if_absent(MARK, seal("store", {"about": ABOUT}))
        blob = backend.get(MARK, MAX_MARK_BYTES)
    try:
        unseal(blob.data if blob else b"", "store", f"the store at {backend.url}")
    except Damage as damage:
        msg = f"{backend.url}/{MARK} does not mark a store: {damage}; delete it to mark it anew"
        raise UserError(msg) from damage
    return Store(backend)


def _backend(url: str) -> Backend:
    scheme, separator, place = url.partition("://")
    if separator and "@" in place.partition("/")[0]:
        msg = (
            f"the {scheme} store is named with credentials before an @, which would be shown with "
            "its name; leave them out and set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
        raise UserError(msg)
    if not separator and re.match(r"[a-z][a-z0-9]+:/", url):
        msg = f"store {url!r} is a URL that went through Path; pass it as a string"
        raise UserError(msg)
    if scheme == "s3" and separator:
        from tomopt_tasks.store.s3 import S3Backend  # noqa: PLC0415  (needs the extra s3)

        return S3Backend(url)
    if not separator:
        return LocalBackend(Path(url).expanduser())
    if scheme == "file":
        return LocalBackend(Path(url.removeprefix("file://")))
    msg = f"store {url!r} has scheme {scheme!r}; use a folder or s3://bucket/prefix"
    raise UserError(msg)
