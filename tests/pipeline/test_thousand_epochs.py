"""A thousand epochs: what they take on disk, in a commit, in a plan and in memory."""

import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from tests.pipeline.common import TINY, changed
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store import local
from tomopt_tasks.store.opening import open_store

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
CHANGE = ("fit.phases[0].epochs", "997")  # with the search and the second phase 1000 epochs
STUDY = changed(CHANGE)

PLAN = """
import sys, time
begun = time.process_time()
from tomopt_tasks import cli
sys.argv = ["tomopt", "plan", *sys.argv[1:]]
try:
    cli.main()
finally:
    heavy = {"torch", "prefect", "matplotlib"} & sys.modules.keys()
    print("imports", *heavy)
    print(time.process_time() - begun)
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> tuple[dict, dict]:
    """Tree and metrics of a real checkpoint of the small study."""
    from tomopt_tasks.runs.run import PlainStage  # noqa: PLC0415

    store = open_store(tmp_path_factory.mktemp("one") / "store")
    study = changed(("fit.phases[1].epochs", "0"))
    with begin(study, store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            refs = run.all(PlainStage(name))
    return store.get_record(refs[-1]), refs[-1].metrics


@pytest.fixture(scope="module")
def filled(tmp_path_factory, checkpoint) -> Path:
    """A store with a thousand checkpoints of real size, each another one."""
    tree, metrics = checkpoint
    folder = tmp_path_factory.mktemp("thousand") / "store"
    store = open_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local.os, "fsync", lambda _: None)
        for stage in plan_study(STUDY):
            store.put_record(stage.kind, stage.key, {**tree, "of": stage.key}, metrics)
    with begin(STUDY, store) as run:
        run_all(run)
    return folder


def disk(folder: Path) -> int:
    """Bytes that a folder takes, in whole blocks, as du counts them."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def test_a_thousand_epochs_take_at_most_25_mb_of_disk(filled):
    assert len(open_store(filled).keys("checkpoint")) == 1001
    assert disk(filled) <= 25e6


def test_the_plan_of_a_thousand_stored_epochs_takes_a_second_without_torch_and_prefect(filled):
    words = [str(TINY), "--set", "=".join(CHANGE), "--store", str(filled)]
    seconds = []
    for _ in range(5):  # other work on the machine makes some of them slower
        done = subprocess.run(
            [sys.executable, "-c", PLAN, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        *said, imports, took = done.stdout.splitlines()
        assert "all 1014 are stored" in said
        assert imports == "imports"
        seconds.append(float(took))
    assert min(seconds) <= 1.0, seconds


def test_the_plan_of_a_longer_study_says_why_in_little_more(filled):
    words = [str(TINY), "--set", "fit.phases[1].epochs=30", "--set", "=".join(CHANGE)]
    seconds = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", PLAN, *words, "--store", str(filled)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert "31 of 1042 stages would run" in done.stdout
        seconds.append(float(done.stdout.splitlines()[-1]))
    assert min(seconds) <= 1.5, seconds


def test_a_commit_takes_at_most_20_ms_in_the_median(tmp_path, checkpoint):
    tree, metrics = checkpoint
    store = open_store(tmp_path / "store")
    took = []
    for number in range(200):
        begun = time.perf_counter()
        store.put_record("checkpoint", f"{number:064x}", {**tree, "of": number}, metrics)
        took.append(time.perf_counter() - begun)
    assert statistics.median(took) <= 0.020


def test_looking_through_a_store_takes_the_same_memory_for_many_objects(tmp_path):
    peaks = {}
    for count in (100, 1000):
        store = open_store(tmp_path / str(count))
        for number in range(count):
            key = f"{number:064x}"[::-1]  # spread over the folders, as digests are
            store.put_record("checkpoint", key, {"number": number})
        tracemalloc.start()
        assert sum(not looked.problem for looked in store.audit(deep=True)) == count
        peaks[count] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks[1000] < 1.5 * peaks[100]
