"""Commits under fire: killed writers, racing writers, faults of the file system."""

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream
from tomopt_tasks.store import ArraySpec, KeyCollision, StoreUnavailable, local, open_store
from tomopt_tasks.store.local import LocalBackend

KILLS = 20

# One process that imports once and then forks writers, because a start takes half a second.
NURSERY = """
import hashlib, os, sys
import numpy as np
from tomopt_tasks.store import ArraySpec, chunks, open_store

chunks.TARGET_BYTES = 20_000
store = open_store(sys.argv[1])
arrays = {"x0": ArraySpec(np.arange(20_000.0).reshape(20, 1000), ("volume", "x"))}

def write(first):
    for i in range(first, first + 100_000):
        key = hashlib.sha256(str(i).encode()).hexdigest()
        if i % 2:
            store.put_record("checkpoint", key, {"i": i, "pad": "x" * 200_000}, {"i": i})
        else:
            store.put_dataset("volumes", key, arrays, {"i": i}, {"i": i})
        os.write(1, f"done {i}\\n".encode())

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.write(1, f"pid {os.getpid()}\\n".encode())
        write(int(line))
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def killed_writers(url):
    """Kill writers at random moments after two commits; the numbers of all acknowledged ones."""
    rng = stream(1, "kill")
    delays = (0.05 * torch.rand(KILLS, generator=rng)).tolist()
    done = set()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen([sys.executable, "-c", NURSERY, url], **pipes) as nursery:

        def words():
            said = nursery.stdout.readline().split()
            if said[0] == "done":
                done.add(int(said[1]))
            return said

        for number, delay in enumerate(delays):
            nursery.stdin.write(f"{number * 100_000}\n")
            goal = len(done) + 2
            kind, pid = words()  # the writer says it first
            assert kind == "pid"
            while len(done) < goal:
                words()
            time.sleep(delay)
            os.kill(int(pid), signal.SIGKILL)
            while words() != ["dead"]:
                pass
        nursery.stdin.close()
    return done


@pytest.mark.slow
def test_killed_writers_tear_nothing_and_lose_nothing_acknowledged(store):
    done = killed_writers(store.url)
    found = set()
    for kind in ("checkpoint", "volumes"):
        for key in store.keys(kind):
            ref = store.find(kind, key)
            assert ref is not None, "torn"
            if kind == "checkpoint":
                assert store.get_record(ref)["i"] == ref.metrics["i"]
            else:
                opened = store.open_dataset(ref)
                np.testing.assert_array_equal(opened.array("x0").ravel(), np.arange(20_000.0))
            found.add(ref.metrics["i"])
    assert done <= found, "lost"
    assert len(found - done) <= KILLS  # a kill between commit and acknowledgement
    assert len(done) >= 2 * KILLS
    assert store.backend.listing(".damaged") == {}


RACE = """
import sys
import numpy as np
from tomopt_tasks.store import ArraySpec, KeyCollision, open_store
store, content = open_store(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for i in range(30):
    try:
        store.put_record("checkpoint", f"{i:064x}", {"content": content})
        arrays = {"a": ArraySpec(np.arange(5) + content, ("row",))}
        store.put_dataset("volumes", f"{i:064x}", arrays)
        store.append_run("shared", {"content": content})
        print(i)
    except KeyCollision:
        pass
"""


def race(url, contents):
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", RACE, url]
    writers = [subprocess.Popen([*command, str(content)], **pipes) for content in contents]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return [[int(i) for i in writer.communicate()[0].split()] for writer in writers]


def attempts(store):
    return {
        tuple(path.split("/")[:4])
        for path in store.backend.listing("volumes")
        if path.count("/") > 3
    }


def test_two_writers_of_equal_content_both_succeed(store):
    assert race(store.url, [1, 1]) == [list(range(30))] * 2
    assert len(store.keys("checkpoint")) == len(store.keys("volumes")) == 30
    assert len(attempts(store)) == 30  # the loser removed its own
    assert len(store.read_run("shared")) == 60
    assert store.backend.listing(".tmp") == {}


def test_of_two_writers_of_other_content_one_wins_each_key(store):
    won = race(store.url, [1, 2])
    for i in range(30):
        ref = store.find("checkpoint", f"{i:064x}")
        assert store.get_record(ref)["content"] in {1, 2}
        dataset = store.find("volumes", f"{i:064x}")
        assert dataset is None or store.open_dataset(dataset).array("a")[0] in {1, 2}
    assert set(won[0]).isdisjoint(won[1])
    assert len(attempts(store)) == len(store.keys("volumes"))


# ------------------------------------------------------------------------ faults


def failing(code):
    def fail(*args, **kwargs):
        raise OSError(code, os.strerror(code))

    return fail


def nothing_half_written(store):
    return store.backend.listing("").keys() == {"STORE.json"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
@pytest.mark.parametrize("kind", ["record", "dataset"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(store, key_of, monkeypatch, code, kind):
    monkeypatch.setattr(local.os, "fsync", failing(code))
    arrays = {"a": ArraySpec(np.arange(3), ("x",))}
    put, content = (store.put_record, {}) if kind == "record" else (store.put_dataset, arrays)
    with pytest.raises(StoreUnavailable, match=os.strerror(code)) as caught:
        put("volumes", key_of(1), content)
    assert "\n" not in str(caught.value)
    assert nothing_half_written(store)
    monkeypatch.undo()
    store.put_record("checkpoint", key_of(1), {})


FULL = """
import resource, sys
from tomopt_tasks.store import StoreUnavailable, open_store
store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    store.put_record("checkpoint", "a" * 64, {"pad": "x" * 1_000_000})
except StoreUnavailable as error:
    sys.exit(f"SAID {error}")
"""


def test_a_write_that_the_kernel_cuts_short_is_never_published(store):
    done = subprocess.run(
        [sys.executable, "-c", FULL, store.url], capture_output=True, text=True, check=False
    )
    assert done.stderr.startswith("SAID cannot write to the store at")
    assert "nothing was committed" in done.stderr
    assert nothing_half_written(store)


@pytest.fixture
def foreign():
    """A store that belongs to somebody else, in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "store"
    shutil.rmtree(folder)


READ_ONLY = """
import os, sys
from tomopt_tasks.core import UserError
from tomopt_tasks.store import open_store
"".encode("cp437")  # the last module that is imported late
os.setuid(65534)
store = open_store(sys.argv[1])
ref = store.find("checkpoint", "a" * 64)
print(store.get_record(ref))
print(store.find("checkpoint", "b" * 64))
try:
    store.put_record("checkpoint", "c" * 64, {})
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_the_store_of_another_user_can_be_read_but_not_written(foreign):
    store = open_store(foreign)
    store.put_record("checkpoint", "a" * 64, {"a": 1})
    damaged = store.put_record("checkpoint", "b" * 64, {})
    file = Path(f"{store.url}/{damaged.kind}/bb/{damaged.key}.zarr.zip")
    file.write_bytes(b"damaged")
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, str(foreign)],
        capture_output=True,
        text=True,
        check=False,
    )
    tree, missing, said = done.stdout.splitlines()
    assert (tree, missing) == ("{'a': 1}", "None")
    assert "Permission denied (it belongs to root); change its permissions" in said
    assert "could not be set aside" in done.stderr
    assert file.read_bytes() == b"damaged"


UNREADABLE = """
import os, sys
from tomopt_tasks.core import UserError
from tomopt_tasks.store import open_store
"".encode("cp437")
os.setuid(65534)
try:
    open_store(sys.argv[1]).find("volumes", "a" * 64)
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs two users")
def test_data_that_may_not_be_read_are_not_taken_for_lost(foreign):
    store = open_store(foreign)
    store.put_dataset("volumes", "a" * 64, {"a": ArraySpec(np.arange(3), ("x",))})
    (store.backend.root / "volumes/aa" / ("a" * 64)).chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", UNREADABLE, str(foreign)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "cannot read the store" in done.stdout
    assert store.find("volumes", "a" * 64) is not None


def test_a_store_that_may_not_be_made_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", failing(errno.EACCES))
    with pytest.raises(StoreUnavailable, match="choose another with --store"):
        open_store(tmp_path / "store")


def test_a_file_in_the_way_is_one_sentence(tmp_path):
    (tmp_path / "store").write_text("")
    with pytest.raises(UserError, match="cannot write to the store at"):
        open_store(tmp_path / "store")


@pytest.mark.skipif(sys.platform != "linux", reason="renameat2 is Linux")
def test_without_hard_links_a_safe_rename_does_the_same(store, key_of, monkeypatch):
    monkeypatch.setattr(local.os, "link", failing(errno.EPERM))
    ref = store.put_record("checkpoint", key_of(1), {"a": 1})
    assert store.put_record("checkpoint", key_of(1), {"a": 1}) == ref
    with pytest.raises(KeyCollision):
        store.put_record("checkpoint", key_of(1), {"a": 2})
    assert store.backend.listing(".tmp") == {}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_with_neither_links_nor_safe_renames_the_store_refuses(store, key_of, monkeypatch, code):
    class NoRename:
        def renameat2(self, *_):
            ctypes.set_errno(code)
            return -1

    monkeypatch.setattr(local.os, "link", failing(errno.EPERM))
    monkeypatch.setattr(local.ctypes, "CDLL", lambda *_, **__: NoRename())
    with pytest.raises(StoreUnavailable, match="neither hard links nor safe renames"):
        store.put_record("checkpoint", key_of(1), {})
    assert nothing_half_written(store)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "a\\b", "a\0b", "."])
def test_a_path_never_leaves_the_folder(tmp_path, path):
    backend = LocalBackend(tmp_path)
    for act in (backend.get, backend.write, backend.put_if_absent):
        with pytest.raises(StoreUnavailable, match="leaves the store"):
            act(path, 10 if act == backend.get else b"")


def test_a_failure_after_the_manifest_is_visible_keeps_the_data(store, key_of, monkeypatch):
    arrays = {"a": ArraySpec(np.arange(3), ("x",))}
    publish = LocalBackend.put_if_absent

    def late(backend, path, data):
        publish(backend, path, data)
        raise StoreUnavailable("too late")

    monkeypatch.setattr(LocalBackend, "put_if_absent", late)
    with pytest.raises(StoreUnavailable, match="too late"):
        store.put_dataset("volumes", key_of(1), arrays)
    monkeypatch.undo()
    assert store.find("volumes", key_of(1)) is not None
