"""The store in a local folder: temporary file, fsync, hard link, fsync of the folder."""

import contextlib
import ctypes
import errno
import os
import shutil
import stat
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

from tomopt_tasks.store.backend import TMP, Blob, Stat
from tomopt_tasks.store.errors import StoreUnavailable

NO_LINKS = frozenset({errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
AT_FDCWD = -100
RENAME_NOREPLACE = 1


class LocalBackend:
    """Objects are files; a path becomes visible only when the whole file is on the disk."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root))  # noqa: PTH100  (resolve() would follow links)
        self.url = str(self.root)

    def get(self, path: str, limit: int) -> Blob | None:
        """The whole file and its stat, from one open file."""
        with self._told("read"):
            try:
                with self._path(path).open("rb") as file:
                    found = _stat(os.fstat(file.fileno()))
                    return Blob(file.read() if found.size <= limit else b"", found)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def stat(self, path: str) -> Stat | None:
        """Size, and (mtime, size, inode) as the stamp."""
        with self._told("read"):
            try:
                found = self._path(path).stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return _stat(found) if stat.S_ISREG(found.st_mode) else None

    def listing(self, prefix: str) -> dict[str, Stat]:
        """All regular files below a folder; files that vanish meanwhile are left out."""
        found: dict[str, Stat] = {}
        with self._told("read"):
            for folder, _, names in os.walk(self._path(prefix), onerror=_unless_missing):
                for name in names:
                    file = Path(folder, name)
                    with contextlib.suppress(FileNotFoundError):
                        found[file.relative_to(self.root).as_posix()] = _stat(file.stat())
        return found

    def children(self, prefix: str) -> list[str]:
        """Names in a folder, sorted."""
        with self._told("read"):
            try:
                return sorted(os.listdir(self._path(prefix)))  # noqa: PTH208
            except (FileNotFoundError, NotADirectoryError):
                return []

    def put_if_absent(self, path: str, data: bytes) -> bool:
        """Publish by a hard link, which fails if the name is taken."""
        target = self._path(path)
        with self._told("write to"):
            temporary = self._path(f"{TMP}/{uuid.uuid4().hex}")
            try:
                self._make_folder(temporary.parent)
                _write_new(temporary, data)
                published = self._publish(temporary, target)
            finally:
                with contextlib.suppress(OSError):
                    temporary.unlink()
            _sync_folder(target.parent)
        return published

    def write(self, path: str, data: bytes) -> None:
        """Write and fsync a file whose folder is made durable by `flush`."""
        target = self._path(path)
        with self._told("write to"):
            self._make_folder(target.parent)
            _write_new(target, data)

    def flush(self, prefix: str) -> None:
        """Fsync every folder below ``prefix`` and the ones above it."""
        with self._told("write to"):
            top = self._path(prefix)
            for folder, _, _ in os.walk(top):
                _sync_folder(Path(folder))

    def delete(self, path: str) -> None:
        """Unlink a file."""
        with self._told("write to"):
            self._path(path).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        """Remove a folder, and its parent if that is left empty."""
        top = self._path(prefix)
        with self._told("write to"):
            if top.is_dir():
                shutil.rmtree(top)
        with contextlib.suppress(OSError):
            top.parent.rmdir()

    def move(self, source: str, target: str) -> None:
        """Rename within the folder; its age begins anew, as in a bucket."""
        with self._told("write to"), contextlib.suppress(FileNotFoundError):
            origin, goal = self._path(source), self._path(target)
            self._make_folder(goal.parent)
            origin.rename(goal)
            os.utime(goal)
            _sync_folder(origin.parent)

    def _path(self, path: str) -> Path:
        if not path:
            return self.root
        parts = path.split("/")
        if any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
            msg = f"store path {path!r} leaves the store; use plain names only"
            raise StoreUnavailable(msg)
        return self.root.joinpath(*parts)

    def _publish(self, temporary: Path, target: Path) -> bool:
        for attempt in range(3):
            self._make_folder(target.parent)
            try:
                return _link(temporary, target)
            except FileNotFoundError:  # another process has just removed the empty folder
                if attempt == 2:
                    raise
        return False

    def _make_folder(self, folder: Path) -> None:
        if folder.is_dir():
            return
        missing = [folder, *(up for up in folder.parents if not up.exists())]
        folder.mkdir(parents=True, exist_ok=True)
        for made in missing:
            _sync_folder(made.parent)

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn any failure of the system into one sentence."""
        try:
            yield
        except OSError as error:
            raise StoreUnavailable(_sentence(error, doing, self.root)) from error


def _sentence(error: OSError, doing: str, root: Path) -> str:
    start = f"cannot {doing} the store at {root}: {error.strerror or error}"
    if error.errno in FULL:
        return f"{start}; nothing was committed, free some space (tomopt gc) and run again"
    if error.errno in FORBIDDEN:
        owner = _owner(root)
        return f"{start}{owner}; change its permissions or choose another with --store"
    return f"{start}; check the disk or choose another store with --store"


def _owner(root: Path) -> str:
    try:
        return f" (it belongs to {root.owner()})"
    except (OSError, KeyError, NotImplementedError):
        return ""


def _stat(found: os.stat_result) -> Stat:
    stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
    return Stat(found.st_size, stamp, found.st_mtime)


def _unless_missing(error: OSError) -> None:
    """Let nobody take a folder that may not be read for an empty one."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _link(temporary: Path, target: Path) -> bool:
    try:
        os.link(temporary, target)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _rename_new(temporary, target)
    return True


def _rename_new(temporary: Path, target: Path) -> bool:
    """Rename that never replaces, for file systems without hard links."""
    if sys.platform == "win32":
        try:
            temporary.rename(target)
        except FileExistsError:
            return False
        return True
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOTSUP, "the file system has no hard links", str(target))
    paths = (os.fsencode(temporary), os.fsencode(target))
    if rename(AT_FDCWD, paths[0], AT_FDCWD, paths[1], RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    raise OSError(code, f"neither hard links nor safe renames here ({os.strerror(code)})")
