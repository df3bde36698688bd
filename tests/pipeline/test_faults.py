"""A disk that is full, read-only, of somebody else or without links: a sentence, and no damage."""

import ctypes
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from tests.pipeline.common import TINY, counted, fake_bodies, flip_bit, objects, tiny
from tomopt_tasks import cli
from tomopt_tasks.commands import verify
from tomopt_tasks.core import UserError
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store import StoreUnavailable, local, open_store

__all__ = ["fake_bodies"]

ROOT = Path(__file__).parents[2]
AS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


def digests(store) -> dict[str, str]:
    return {key: store.find(kind, key).sha256 for kind in store.kinds() for key in store.keys(kind)}


def run(store, study=None) -> None:
    with begin(study or tiny(), store) as running:
        run_all(running)


def failing(monkeypatch, name: str, code: int, after: int) -> Counter:
    """A call of the system that fails after so many good ones, once for each process so far."""
    did, good = Counter(), getattr(os, name)

    def call(*arguments, **options):
        did[name] += 1
        if did[name] > after:
            raise OSError(code, os.strerror(code))
        return good(*arguments, **options)

    monkeypatch.setattr(local.os, name, call)
    return did


def whole(store) -> bool:
    """Everything that is visible is intact, and no draft was left."""
    return verify.verify(store, deep=True).code == 0 and store.backend.listing(".tmp") == {}


# ------------------------------------------------------------------ at every moment of a run


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS], ids=errno.errorcode.get)
def test_a_study_that_fails_again_and_again_ends_with_the_same_bits(tmp_path, fake_bodies, code):
    good, poor = open_store(tmp_path / "good"), open_store(tmp_path / "poor")
    run(good)
    for after in (0, 1, 2, 3, 4, 5, 7, 9, 12):
        with pytest.MonkeyPatch.context() as patch:
            failing(patch, "fsync", code, after)
            with pytest.raises(StoreUnavailable) as caught:
                run(open_store(poor.url))
        assert str(caught.value).startswith(f"cannot write to the store at {poor.url}: ")
        assert "\n" not in str(caught.value)
        assert whole(open_store(poor.url))
    assert 2 < len(objects(poor)) < 19
    run(open_store(poor.url))
    assert digests(open_store(poor.url)) == digests(good)


def test_a_file_system_without_links_makes_the_same_store(tmp_path, fake_bodies, monkeypatch):
    linked, other = open_store(tmp_path / "linked"), open_store(tmp_path / "other")
    run(linked)
    did = failing(monkeypatch, "link", errno.EPERM, 0)
    run(other)
    assert did["link"] >= 19
    assert digests(other) == digests(linked)
    assert whole(other)
    with counted() as ran:
        run(open_store(other.url))
    assert ran == []


def test_a_file_system_without_links_and_safe_renames_is_refused(tmp_path, monkeypatch):
    store = open_store(tmp_path / "store")
    failing(monkeypatch, "link", errno.EOPNOTSUPP, 0)
    monkeypatch.setattr(ctypes, "CDLL", lambda *a, **k: object())
    with pytest.raises(StoreUnavailable, match="the file system has no hard links"):
        run(store)
    assert whole(store)
    assert store.runs() == []


# ------------------------------------------------------------------ the command


@pytest.fixture
def tomopt(monkeypatch, capfd):
    """Calls the command; exit code and the last line of what it said on stderr."""

    def call(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tomopt", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return ended.value.code or 0, (said.strip().splitlines() or [""])[-1]

    return call


@pytest.mark.parametrize("command", ["run", "report"])
def test_a_report_that_cannot_be_written_is_a_sentence_and_costs_nothing_but_itself(
    store, tomopt, monkeypatch, command
):
    def full(self, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))

    folder = next(Path(store.url, "reports").iterdir())
    flip_bit(folder / "report.html")  # else a run lets it be
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr("tomopt_tasks.reports.page.render_html", lambda data: "<html>")
    words = {"run": ("run", str(TINY), "--runner", "plain"), "report": ("report", "tiny")}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        code, said = tomopt(*words[command], "--store", store.url)
    assert code == 2
    assert f"cannot write {folder}: No space left on device; all results are stored" in said
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert tomopt(*words[command], "--store", store.url)[0] == 0
    assert whole(store)


@pytest.mark.parametrize("to", ["table.csv", "table.parquet", "table.nc", "table.h5"])
def test_an_export_to_a_place_that_is_not_there_is_a_sentence(store, tomopt, tmp_path, to):
    place = tmp_path / "no such folder" / to
    code, said = tomopt("export", "tiny:evaluation", "--to", str(place), "--store", store.url)
    assert code == 2
    assert said.startswith(f"tomopt: cannot write {place}: ")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own; gives a function that sets its size, or mounts it read-only."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)],
        check=False, capture_output=True,
    ) if AS_ROOT else None  # fmt: skip
    if done is None or done.returncode:
        pytest.skip("may not mount a file system here")

    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(place)], check=True)

    try:
        yield place, remount
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_study_goes_on_when_a_full_disk_has_room_again_and_reads_when_it_is_read_only(
    finished, small_disk, tomopt, monkeypatch
):
    place, remount = small_disk
    monkeypatch.setattr("tomopt_tasks.reports.page.render_html", lambda data: "<html>")
    words = ("run", str(TINY), "--runner", "plain", "--store", str(place / "store"))
    code, said = tomopt(*words)
    assert code == 2
    assert "No space left on device; nothing was committed, free some space" in said
    store = open_store(place / "store")
    assert whole(store)
    assert 0 < len(objects(store)) < 19
    remount("size=20m")
    assert tomopt(*words)[0] == 0
    assert digests(open_store(store.url)) == digests(open_store(finished[0]))

    remount("ro")
    for command in ("plan", "run"):
        longer = ("--set", "fit.phases[1].epochs=3", "--store", store.url)
        code, said = tomopt(command, str(TINY), *longer, *words[2:4] * (command == "run"))
        assert code == (2 if command == "run" else 0)
    assert "Read-only file system" in said
    for read in (("status",), ("verify", "--deep"), ("explain", "tiny"), ("export", "tiny")):
        assert tomopt(*read, "--store", store.url)[0] == 0
    assert tomopt("report", "tiny", "--store", store.url)[0] == 2
    remount("rw")
    assert tomopt("report", "tiny", "--store", store.url)[0] == 0
    assert whole(open_store(store.url))


OF_ANOTHER = """
import contextlib, os, sys
from tests.pipeline.common import TINY
from tomopt_tasks import cli, stages
from tomopt_tasks.reports import page
from tomopt_tasks.runs import command
"".encode("cp437")  # the last module that is imported late
os.environ["HOME"] = "/nonexistent"
os.setuid(65534)
for words in (["plan", str(TINY)], ["verify", "--deep"], ["status"], ["inspect", "tiny"],
              ["run", str(TINY), "--runner", "plain"], ["report", "tiny"], ["gc", "--apply"]):
    sys.argv = ["tomopt", *words, "--store", sys.argv[-1]]
    code = 0
    with contextlib.redirect_stdout(None):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    print(words[0], code, flush=True)
"""


@pytest.mark.skipif(not AS_ROOT, reason="needs two users")
def test_the_store_of_another_user_is_read_and_a_run_on_it_ends_in_a_sentence(store):
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        shutil.copytree(store.url, folder / "store")
        before = digests(open_store(folder / "store"))
        done = subprocess.run(
            [sys.executable, "-c", OF_ANOTHER, str(folder / "store")],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.splitlines() == [
            "plan 0", "verify 0", "status 0", "inspect 0", "run 2", "report 2", "gc 0"
        ], done.stderr  # fmt: skip
        assert "Traceback" not in done.stderr
        sentences = [line for line in done.stderr.splitlines() if line.startswith("tomopt: ")]
        assert len(sentences) == 2
        assert "Permission denied (it belongs to root); change its permissions" in sentences[0]
        assert whole(open_store(folder / "store"))
        assert digests(open_store(folder / "store")) == before
    finally:
        shutil.rmtree(folder)
    with pytest.raises(UserError, match="there is no store"):
        open_store(folder / "store", create=False)
