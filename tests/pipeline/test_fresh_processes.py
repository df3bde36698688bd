"""Killed in the middle of an epoch, and continued by a process that knows nothing but the store."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.test_resume import CASES, NEW, banks, copy, fit, last_checkpoint, study
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.partial import EVERY

__all__ = ["banks"]

ROOT = Path(__file__).parents[2]
COVERING = [*NEW, *(case for case in CASES if case not in NEW)][:20]
"""Every part, and as many pairs as twenty cases hold: those that are found first hold most."""
SHORT = COVERING[::7]

DRIVER = """
import os, signal, sys
from tests.pipeline.test_resume import fit, study
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.partial import Partial
folder, kill_at, *case = sys.argv[1:]
good, seen = Partial.between_steps, 0
def between_steps(self, done, state):
    global seen
    seen += 1
    good(self, done, state)  # every update is committed
    if seen == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
Partial.between_steps = between_steps
fit(open_store(folder), study(*case))
"""


def run(folder: Path, kill_at: int, case: tuple[str, ...]) -> int:
    """The exit code of a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", DRIVER, str(folder), str(kill_at), *case],
        env={**os.environ, "PYTHONPATH": str(ROOT), EVERY: "0", "PYTHONHASHSEED": "random"},
        check=False,
        capture_output=True,
    ).returncode


def test_the_covering_array_has_about_twenty_cases_with_every_member():
    assert 19 <= len(COVERING) <= 24
    assert len({*COVERING}) == len(COVERING)
    for part in range(4):
        assert {case[part] for case in COVERING} == {case[part] for case in CASES}


@pytest.mark.parametrize("case", SHORT, ids="-".join)
def test_a_process_killed_in_the_middle_of_an_epoch_is_continued_by_another(case, banks, tmp_path):
    continues(case, banks, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("case", [case for case in COVERING if case not in SHORT], ids="-".join)
def test_so_is_one_with_every_optimiser_schedule_loss_and_feature(case, banks, tmp_path):
    continues(case, banks, tmp_path)


def continues(case, banks, tmp_path) -> None:
    planned = study(*case)
    straight, broken = copy(banks, tmp_path / "straight"), tmp_path / "broken"
    fit(straight, planned)
    copy(banks, broken)
    assert run(broken, 1 + COVERING.index(case) % 4, case) == -signal.SIGKILL
    assert not last_checkpoint(open_store(broken), planned)
    assert run(broken, 0, case) == 0
    ended = open_store(broken)
    assert last_checkpoint(ended, planned) == last_checkpoint(straight, planned) != ""
