"""The store in an S3 bucket, through obstore (the extra ``s3``): one conditional PUT a commit.

Endpoint, region and credentials come from the AWS_* variables. Servers exist that accept a
conditional PUT and ignore the condition; such a server would lose commits, so it is tried at open.
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from typing import Any

from tomopt_tasks.core import UserError
from tomopt_tasks.store.backend import Blob, Stat
from tomopt_tasks.store.errors import StoreUnavailable

PROBE = ".probe"


class S3Backend:
    """Objects below ``s3://bucket/prefix``; a PUT publishes whole objects by itself."""

    def __init__(self, url: str) -> None:
        """Connect and try a conditional PUT.

        Raises:
            StoreUnavailable: no such bucket, no permission, or conditions are ignored.
        """
        self._obstore: Any = _import_obstore()
        self.url = url.rstrip("/")
        with self._told("open"):
            self._store = self._obstore.store.from_url(self.url, **_options())
        self._read_only = False
        self._probe()

    def get(self, path: str, limit: int) -> Blob | None:
        """The object and its stat, from one request."""
        with self._told("read"):
            try:
                found = self._obstore.get(self._store, path)
            except FileNotFoundError:
                return None
            stat = _stat(found.meta)
            return Blob(bytes(found.bytes()) if stat.size <= limit else b"", stat)

    def stat(self, path: str) -> Stat | None:
        """Size, and the entity tag as the stamp."""
        with self._told("read"):
            try:
                return _stat(self._obstore.head(self._store, path))
            except FileNotFoundError:
                return None

    def listing(self, prefix: str) -> dict[str, Stat]:
        """All objects below a prefix."""
        with self._told("read"):
            pages = self._obstore.list(self._store, prefix or None)
            return {meta["path"]: _stat(meta) for page in pages for meta in page}

    def children(self, prefix: str) -> list[str]:
        """Sorted names below a prefix, up to the next '/'."""
        with self._told("read"):
            found = self._obstore.list_with_delimiter(self._store, prefix or None)
        paths = [*found["common_prefixes"], *(meta["path"] for meta in found["objects"])]
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """One PUT with ``If-None-Match: *``."""
        self._check_writable()
        with self._told("write to"):
            return self._create(path, data)

    def write(self, path: str, data: bytes) -> None:
        """One PUT."""
        self._check_writable()
        with self._told("write to"):
            self._obstore.put(self._store, path, data, use_multipart=False)

    def flush(self, prefix: str) -> None:
        """Nothing to do: what S3 has acknowledged is durable."""

    def delete(self, path: str) -> None:
        """Delete an object."""
        self._check_writable()
        with self._told("write to"), contextlib.suppress(FileNotFoundError):
            self._obstore.delete(self._store, path)

    def delete_prefix(self, prefix: str) -> None:
        """Delete all objects below a prefix."""
        self._check_writable()
        paths = list(self.listing(prefix))
        with self._told("write to"), contextlib.suppress(FileNotFoundError):
            if paths:
                self._obstore.delete(self._store, paths)

    def move(self, source: str, target: str) -> None:
        """Copy, then delete."""
        self._check_writable()
        with self._told("write to"), contextlib.suppress(FileNotFoundError):
            self._obstore.rename(self._store, source, target)

    def _create(self, path: str, data: bytes) -> bool:
        try:
            self._obstore.put(self._store, path, data, mode="create")
        except self._obstore.exceptions.AlreadyExistsError:
            return False
        return True

    def _probe(self) -> None:
        """Create an object twice; the second time must be refused."""
        path = f"{PROBE}/{uuid.uuid4().hex}"
        with self._told("open"):
            try:
                created = self._create(path, b"first")
            except self._obstore.exceptions.PermissionDeniedError:
                self._read_only = True
                return
            again = self._create(path, b"second")
            with contextlib.suppress(self._obstore.exceptions.PermissionDeniedError):
                self._obstore.delete(self._store, path)
        if not created or again:
            msg = (
                f"the server of {self.url} ignores conditional writes (If-None-Match), so that two "
                "writers would overwrite each other; use another server or a local folder"
            )
            raise StoreUnavailable(msg)

    def _check_writable(self) -> None:
        if self._read_only:
            msg = (
                f"the store at {self.url} may be read but not written with these credentials; "
                "change them (AWS_* variables) or choose another with --store"
            )
            raise StoreUnavailable(msg)

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn any failure of the network or the server into one sentence."""
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            first = str(error).strip().partition("\n")[0][:300]
            msg = (
                f"cannot {doing} the store at {self.url}: {first}; check bucket, credentials and "
                "endpoint (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)"
            )
            raise StoreUnavailable(msg) from error


def _import_obstore() -> Any:  # noqa: ANN401
    try:
        import obstore  # noqa: PLC0415
        import obstore.exceptions  # noqa: PLC0415
        import obstore.store  # noqa: PLC0415
    except ImportError as error:
        msg = "stores in S3 need the package obstore; install it: pip install 'tomopt-tasks[s3]'"
        raise UserError(msg) from error
    return obstore


def _options() -> dict[str, Any]:
    """A server of one's own is often plain HTTP; retry for half a minute, not three."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    options: dict[str, Any] = {"retry_config": {"max_retries": 5}}
    if endpoint.startswith("http://"):
        options["client_options"] = {"allow_http": True}
    return options


def _stat(meta: Any) -> Stat:  # noqa: ANN401
    modified = meta["last_modified"].timestamp()
    return Stat(meta["size"], (meta["e_tag"] or "", meta["size"], str(modified)), modified)
