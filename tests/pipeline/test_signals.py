"""The first Ctrl-C waits for the step and keeps it; the second one does not wait."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.pipeline.common import TINY, counted, fake_bodies, tiny
from tomopt_tasks.interrupts import Stopped, deferred, stop_if_asked
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

ROOT = Path(__file__).parents[2]


def press(fake_bodies, number: int, times: int = 1) -> None:
    """Have a signal arrive in the middle of the second epoch."""
    good = fake_bodies["fit_epoch"]

    def body(store, key, inputs, parents):
        if inputs.epoch == 1:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return good(store, key, inputs, parents)

    fake_bodies["fit_epoch"] = body


def run(store) -> Stopped:
    with pytest.raises(Stopped) as stopped, begin(tiny(), store) as running:
        run_all(running)
    return stopped.value


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_step_is_finished_and_stored_before_a_run_stops(tmp_path, fake_bodies, number, code):
    store = open_store(tmp_path / "store")
    good = fake_bodies["fit_epoch"]
    before = signal.getsignal(number)
    press(fake_bodies, number)
    stopped = run(store)
    assert (stopped.exit_code, stopped.at_once) == (code, False)
    assert signal.getsignal(number) is before
    assert len(store.keys("checkpoint")) == 3  # the start and two epochs
    last = store.read_run(store.runs()[0])[-1]
    assert last["event"] == "interrupted"
    assert last["error"] == f"stopped by {signal.Signals(number).name}"
    assert len(last["executed"]) == 9
    fake_bodies["fit_epoch"] = good
    with counted() as ran, begin(tiny(), store) as running:
        run_all(running)
    assert len(ran) == 19 - 9


def test_the_second_signal_stops_at_once_and_nothing_half_done_is_stored(tmp_path, fake_bodies):
    store = open_store(tmp_path / "store")
    press(fake_bodies, signal.SIGINT, times=2)
    stopped = run(store)
    assert (stopped.exit_code, stopped.at_once) == (130, True)
    assert len(store.keys("checkpoint")) == 2
    assert store.read_run(store.runs()[0])[-1]["event"] == "interrupted"


def test_a_request_is_forgotten_with_the_run_that_it_was_for(tmp_path, fake_bodies):
    store = open_store(tmp_path / "store")
    good = fake_bodies["fit_epoch"]
    press(fake_bodies, signal.SIGINT)
    run(store)
    stop_if_asked()
    fake_bodies["fit_epoch"] = good
    with begin(tiny(), store) as running:
        run_all(running)
    assert store.read_run(running.id)[-1]["event"] == "finished"


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with deferred():
            seen.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            stop_if_asked()
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["plain", "prefect"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_stopped_goes_on_with_the_one_that_it_names(
    tmp_path, runner, number, code
):
    epochs = ("--set", "fit.phases[0].epochs=60")
    words = [
        sys.executable,
        "-m",
        "tomopt_tasks.cli",
        "run",
        str(TINY),
        "--runner",
        runner,
        *epochs,
    ]
    store = tmp_path / "store"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TOMOPT_STORE": str(store),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(tmp_path / "records"),
    }
    environment.pop("PREFECT_API_URL", None)
    process = subprocess.Popen(
        [*words, *epochs], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, cwd=tmp_path,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while len(list(store.glob("checkpoint/??/*.zip"))) < 4 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, number)  # as a terminal does: everything in the group hears it
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert 4 <= len(open_store(store).keys("checkpoint")) < 64
    named = shlex.split(err.rpartition("go on with: ")[2].splitlines()[0])
    assert named[:2] == ["tomopt", "run"]
    again = [*words[:3], *named[1:]]
    done = subprocess.run(again, env=environment, cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(open_store(store).keys("checkpoint")) == 64
