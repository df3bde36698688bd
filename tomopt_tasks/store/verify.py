"""Bytes are believed once their digest was checked; the check is remembered until they change."""

from tomopt_tasks.store.backend import Backend, Stat
from tomopt_tasks.store.errors import Damage, DamagedObject
from tomopt_tasks.store.formats import digest
from tomopt_tasks.store.refs import Ref

Entry = tuple[int, str]
"""Size [bytes] and sha256 of a stored object, as a manifest lists it."""


class Verifier:
    """Remembers, within one process, which stored objects had the right digest."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._known: dict[str, tuple[Stat, str]] = {}

    def read(self, path: str, entry: Entry) -> bytes:
        """The object's bytes, checked.

        Raises:
            Damage: missing, or of another size or digest.
        """
        size, sha256 = entry
        blob = self._backend.get(path, limit=size)
        if blob is None:
            msg = f"{path} is missing"
            raise Damage(msg)
        if blob.stat.size != size or len(blob.data) != size:
            msg = f"{path} has {blob.stat.size} bytes instead of {size}"
            raise Damage(msg)
        if self._known.get(path) != (blob.stat, sha256):
            if digest(blob.data) != sha256:
                msg = f"the digest of {path} does not match its bytes"
                raise Damage(msg)
            if blob.stat.settled():
                self._known[path] = (blob.stat, sha256)
        return blob.data

    def check(self, path: str, entry: Entry, stat: Stat | None) -> None:
        """Like `read`, but reads only what has changed since it was last believed."""
        if stat is None:
            msg = f"{path} is missing"
            raise Damage(msg)
        if self._known.get(path) != (stat, entry[1]) or stat.size != entry[0]:
            self.read(path, entry)


def lost(ref: Ref) -> DamagedObject:
    """The error for an object that is not there."""
    msg = f"{ref.kind} {ref.key[:12]} is not in the store; run again to make it anew"
    return DamagedObject(msg)


def check_same(ref: Ref, found: Ref) -> None:
    """Refuse content that is not what a ref was given for.

    Raises:
        DamagedObject: it has another digest.
    """
    if ref.sha256 != found.sha256:
        msg = (
            f"{ref.kind} {ref.key[:12]} in the store has content {found.sha256[:12]}, the ref "
            f"says {ref.sha256[:12]}; it was made again since: find it again by its key"
        )
        raise DamagedObject(msg)
