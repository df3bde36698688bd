"""A thousand epochs: what they take on disk, in a commit, in a plan and in memory.

No test here looks at a clock: what makes a plan or a commit slow is counted instead. The times are
printed by ``python -m tests.benchmarks.store``.
"""

import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks.store import CHANGE, LONGER, TINY, fill
from tomopt_tasks.store import local
from tomopt_tasks.store.opening import open_store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
STAGES = 1014
CALLS = 2_500_000
"""Calls of functions in a plan, start included (1.7 million in 2026): its time, without a clock."""
OPERATIONS = ("get", "stat", "listing", "children", "put_if_absent", "write", "move", "delete")

PLAN = (
    f"OPERATIONS = {OPERATIONS}"
    + """
import json, sys
from collections import Counter
from tomopt_tasks import cli
from tomopt_tasks.store.local import LocalBackend

counts = Counter()

def count(name, method):
    def counted(*arguments):
        counts[name] += 1
        return method(*arguments)
    return counted

for name in OPERATIONS:
    setattr(LocalBackend, name, count(name, getattr(LocalBackend, name)))

def calls(frame, event, argument):
    counts["calls"] += event in ("call", "c_call")

sys.argv = ["tomopt", "plan", *sys.argv[1:]]
sys.setprofile(calls)
try:
    cli.main()
finally:
    sys.setprofile(None)
    heavy = {"torch", "prefect", "matplotlib", "pint", "zarr"} & sys.modules.keys()
    print(json.dumps({**counts, "heavy": sorted(heavy)}))
"""
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Path:
    """A store with a thousand checkpoints of real size, each another one."""
    folder = tmp_path_factory.mktemp("thousand") / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.os, "fsync", lambda _: None)
        fill(folder)
    return folder


def planned(store: Path, *words: str) -> tuple[str, dict]:
    """What ``tomopt plan`` says in a fresh process, and what it did for that."""
    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(TINY), *words, "--store", str(store)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    *said, counts = done.stdout.splitlines()
    return "\n".join(said), json.loads(counts)


def disk(folder: Path) -> int:
    """Bytes that a folder takes, in whole blocks, as du counts them."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def test_a_thousand_epochs_take_at_most_25_mb_of_disk(filled):
    assert len(open_store(filled).keys("checkpoint")) == 1001
    assert disk(filled) <= 25e6


def test_the_plan_of_a_thousand_stored_epochs_reads_each_once_without_torch_and_prefect(filled):
    said, did = planned(filled, "--set", "=".join(CHANGE))
    assert f"all {STAGES} are stored" in said
    assert did["heavy"] == []
    assert did["get"] <= STAGES + 10
    assert looks(did) <= 10
    assert did["calls"] <= CALLS, did["calls"]


def test_the_plan_of_a_longer_study_says_why_in_little_more(filled):
    said, did = planned(filled, "--set", "=".join(LONGER), "--set", "=".join(CHANGE))
    assert "31 of 1042 stages would run" in said
    assert did["heavy"] == []
    assert did["get"] <= STAGES + 2 * 31 + 10  # each that is missing, and its tombstone
    assert looks(did) <= 31 + 256 + 20  # and the folders of checkpoints, once
    assert did["calls"] <= CALLS, did["calls"]


def looks(did: dict) -> int:
    return sum(did.get(name, 0) for name in ("stat", "children", "listing"))


def test_a_commit_costs_two_fsyncs_and_a_link_however_much_is_stored(tmp_path, monkeypatch):
    store = open_store(tmp_path / "store")
    did = Counter()
    for name in ("fsync", "link", "mkdir", "scandir", "listdir", "stat", "rename"):
        monkeypatch.setattr(os, name, counting(did, name, getattr(os, name)))

    def commit(number: int) -> Counter:
        did.clear()
        store.put_record("checkpoint", f"{number:064x}", {"number": number})
        return did.copy()

    commit(0)  # makes the folders
    first, *_, last = [commit(number) for number in range(1, 200)]
    assert first == last
    assert (last["fsync"], last["link"]) == (2, 1)
    assert last["scandir"] + last["listdir"] + last["rename"] + last["mkdir"] == 0


def counting(counts: Counter, name: str, call):
    def counted(*arguments, **options):
        counts[name] += 1
        return call(*arguments, **options)

    return counted


@pytest.mark.long
def test_looking_through_a_store_keeps_nothing_of_what_it_has_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(local.os, "fsync", lambda _: None)
    stores = {count: open_store(tmp_path / str(count)) for count in (100, 600)}
    for count, store in stores.items():
        for number in range(count):
            key = f"{number:064x}"[::-1]  # spread over the folders, as digests are
            store.put_record("checkpoint", key, {"number": number})
        look_through(store)  # what is made once, by imports and caches, is made here
    grown = peak(stores[600]) - peak(stores[100])
    assert grown < 64 * 500, grown  # one `Looked` in a list takes four times that


def look_through(store) -> None:
    assert not any(looked.problem for looked in store.audit(deep=True))


def peak(store) -> int:
    """Most bytes at a time in a deep look through a store."""
    gc.collect()
    tracemalloc.start()
    try:
        look_through(store)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
