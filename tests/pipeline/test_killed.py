"""A run that was killed goes on at its last committed epoch, to the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.common import TINY, changed, objects
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

ROOT = Path(__file__).parents[2]
CHANGE = ("fit.phases[0].epochs", "25")
COMMAND = [sys.executable, "-m", "tomopt_tasks.cli", "run", str(TINY), "--runner", "plain"]


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--store", str(folder), "--set", "=".join(CHANGE)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def n_checkpoints(folder: Path) -> int:
    return len(list((folder / "checkpoint").glob("??/*.zarr.zip")))


def kill_after(folder: Path, n_epochs: int) -> int:
    """Kill a run when so many checkpoints are there; how many there were in the end."""
    process = start(folder)
    deadline = time.monotonic() + 120
    while n_checkpoints(folder) < n_epochs and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return n_checkpoints(folder)


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_bits_of_an_undisturbed_one(store, tmp_path):
    study = changed(CHANGE)
    with begin(study, store) as undisturbed:
        run_all(undisturbed)
    last = [stage for stage in plan_study(study) if stage.name == "fit_epoch"][-1]
    folder = tmp_path / "killed"
    first = kill_after(folder, 4)
    second = kill_after(folder, first + 6)
    assert 4 <= first < second < 29
    process = start(folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    n_stages = len(plan_study(study))
    n_stored = second + 6  # volumes and banks
    assert out.splitlines()[-1] == f"{n_stages - n_stored} stages executed, {n_stored} cached"
    mended = open_store(folder)
    kept = undisturbed.refs[last.key]
    assert mended.find("checkpoint", last.key) == kept
    assert objects(mended).keys() <= objects(store).keys()
    (run,) = mended.runs()
    events = [entry["event"] for entry in mended.read_run(run)]
    assert events == ["started", "started", "started", "finished"]


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    folder = tmp_path / "store"
    process = start(folder)
    deadline = time.monotonic() + 120
    while n_checkpoints(folder) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: tomopt run" in err
    assert "Traceback" not in err
    store = open_store(folder)
    (run,) = store.runs()
    assert [entry["event"] for entry in store.read_run(run)] == ["started", "interrupted"]
