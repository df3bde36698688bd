"""The short form of ``make torture``, and that its eyes are open."""

import os
import signal
import subprocess
import sys

import pytest

from tests.torture.kills import Torture, pair, plain
from tests.torture.toll import Toll, Undisturbed, acknowledged, autopsy, files, finish, found
from tests.torture.victims import Nursery, orphans
from tomopt_tasks.store.opening import open_store

KEYS = [f"{number:064x}" for number in range(3)]


@pytest.fixture(scope="module")
def nurseries():
    with Nursery() as one, Nursery() as two:
        yield one, two


@pytest.fixture(scope="module")
def torture(tmp_path_factory, nurseries):
    ready = Torture(tmp_path_factory.mktemp("torture"), seed=1)
    ready.undisturbed(nurseries[0])
    return ready


@pytest.mark.slow
def test_runs_that_are_killed_end_with_what_an_undisturbed_one_leaves(torture, nurseries):
    toll = plain(torture, nurseries[0], 4, fresh_every=10**9)
    assert toll.clean, toll.said
    assert toll.kills >= 4
    assert toll.rounds >= 1


@pytest.mark.slow
def test_two_processes_on_one_study_that_are_killed_do_too(torture, nurseries):
    toll = pair(torture, nurseries, 2)
    assert toll.clean, toll.said
    assert toll.kills >= 2
    assert toll.rounds >= 1


@pytest.fixture
def folder(tmp_path):
    store = open_store(tmp_path / "store")
    for key in KEYS:
        store.put_record("checkpoint", key, {"key": key})
    return tmp_path / "store"


def look(folder, known, good) -> dict[str, int]:
    toll = Toll()
    autopsy(toll, folder, known, good)
    assert toll.clean == (not toll.said)
    return {name: getattr(toll, name) for name in ("torn", "lost", "differs")}


def test_what_is_torn_lost_or_other_is_seen(folder):
    good = found(open_store(folder))
    assert look(folder, good, good) == {"torn": 0, "lost": 0, "differs": 0}
    other = dict.fromkeys(good, "0" * 64)
    assert look(folder, good, other) == {"torn": 0, "lost": 0, "differs": 3}
    (folder / "checkpoint" / "00" / f"{KEYS[0]}.zarr.zip").unlink()
    assert look(folder, good, good) == {"torn": 0, "lost": 1, "differs": 0}
    cut = folder / "checkpoint" / "00" / f"{KEYS[1]}.zarr.zip"
    cut.write_bytes(cut.read_bytes()[:-9])
    assert look(folder, {}, good) == {"torn": 2, "lost": 0, "differs": 0}  # and it was set aside
    (folder / "STORE.json").unlink()
    assert look(folder, good, good)["lost"] == 1


def test_a_file_too_many_a_missing_object_and_an_unfinished_run_are_seen(folder):
    store = open_store(folder)
    good = Undisturbed(found(store), files(store))
    toll = Toll()
    finish(toll, folder, good)
    assert toll.clean
    (folder / "checkpoint" / "00" / "stray").touch()
    (folder / "checkpoint" / "00" / f"{KEYS[0]}.zarr.zip").unlink()
    store.append_run("run", {"event": "started"})
    finish(toll, folder, good)
    assert toll.differs == 5  # the object, its file, the stray, no last entry, no page


def test_what_is_told_is_read(tmp_path):
    (tmp_path / "acks").write_text(f"checkpoint {KEYS[0]} {KEYS[1]}\noperations 7\n")
    assert acknowledged(tmp_path / "acks") == [(("checkpoint", KEYS[0]), KEYS[1])]
    assert acknowledged(tmp_path / "none") == []


def test_a_process_that_is_left_of_a_group_is_found():
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                               start_new_session=True)  # fmt: skip
    try:
        assert len(orphans(sleeper.pid)) == 1
    finally:
        os.killpg(sleeper.pid, signal.SIGKILL)
        sleeper.communicate()
    assert orphans(sleeper.pid) == []
