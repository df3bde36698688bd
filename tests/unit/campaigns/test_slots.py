"""Jobs side by side: what fails or is killed takes nothing else with it."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tomopt_tasks.campaigns.slots import KILLED, UNHEARD, Job, run_jobs, slots


def fine(name):
    return {"name": name}


def meet(name, other, folder):
    """End once the other one has begun."""
    Path(folder, name).touch()
    for _ in range(6000):
        if Path(folder, other).exists():
            return {"met": other, "threads": os.environ["OMP_NUM_THREADS"]}
        time.sleep(0.02)
    return {"error": f"{other} has not begun while {name} ran"}


def broken():
    return {"error": "no muons"}


def raising():
    raise ValueError("a bug")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def endless(folder):
    """Ends when it is asked to, and leaves a word."""

    def stop(*_):
        Path(folder, "stopped").touch()
        sys.exit(1)

    signal.signal(signal.SIGTERM, stop)
    Path(folder, "began").touch()
    time.sleep(600)
    return {}


class Ears:
    """Notes what is told, and maybe has enough of it."""

    def __init__(self, folder=None):
        self.heard, self.folder = [], folder

    def began(self, job):
        self.heard.append(("began", job.name))

    def waited(self):
        self.heard.append(("waited",))
        if self.folder is not None and Path(self.folder, "began").exists():
            raise SystemExit("enough")

    def ended(self, *_):
        raise AssertionError("only the one who has all jobs knows how many there are")


def run(jobs, n_slots=2, heard=UNHEARD):
    with slots(n_slots) as crew:
        return {outcome.name: outcome for outcome in run_jobs(jobs, crew, heard)}


def job(name, call=fine, arguments=None, after=()):
    given = (name,) if call is fine and arguments is None else (arguments or ())
    return Job(name, call, given, frozenset(after))


@pytest.fixture(scope="module")
def outcomes():
    jobs = [
        job("killed", killed),
        job("broken", broken),
        job("raising", raising),
        job("needs broken", after=["broken"]),
        job("needs that", after=["needs broken"]),
        job("last", after=["first"]),
        job("first"),
        job("alone"),
    ]
    return run(jobs)


def test_every_job_has_one_outcome_whatever_happens_to_the_others(outcomes):
    states = {name: outcome.state for name, outcome in outcomes.items()}
    assert states == {
        "killed": "failed",
        "broken": "failed",
        "raising": "failed",
        "needs broken": "blocked",
        "needs that": "blocked",
        "first": "done",
        "last": "done",
        "alone": "done",
    }


def test_the_reason_is_told(outcomes):
    assert outcomes["killed"].error == KILLED
    assert outcomes["broken"].error == "no muons"
    assert outcomes["raising"].error == "ValueError: a bug"
    assert outcomes["needs broken"].error == "needs broken"
    assert outcomes["alone"].result == {"name": "alone"}


def test_a_job_waits_for_what_it_needs(outcomes):
    order = list(outcomes)
    assert order.index("first") < order.index("last")


def test_two_slots_work_at_the_same_time_with_one_thread_each(tmp_path):
    pairs = (("a", "b"), ("b", "a"))
    found = run([job(name, meet, (name, other, str(tmp_path))) for name, other in pairs])
    results = {name: outcome.result for name, outcome in found.items()}
    assert results == {name: {"met": other, "threads": "1"} for name, other in pairs}


def test_jobs_that_nobody_waits_for_are_asked_to_stop(tmp_path, monkeypatch):
    monkeypatch.setattr("tomopt_tasks.campaigns.slots.EVERY", 0.05)
    ears = Ears(tmp_path)
    with pytest.raises(SystemExit, match="enough"):
        run([job("endless", endless, (str(tmp_path),))], 1, ears)
    assert (tmp_path / "stopped").exists()
    assert ears.heard[0] == ("began", "endless")
    assert ears.heard[-1] == ("waited",)
