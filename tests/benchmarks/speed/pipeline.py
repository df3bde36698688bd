"""What the pipeline costs beyond the physics: executed and cached epochs, and a cached study."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.speed.scaling import ROOT
from tests.benchmarks.speed.timing import Load, Took
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.study import Study
from tomopt_tasks.runs import body
from tomopt_tasks.runs.run import Run, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.loop import VolumeLoop

TINY = "tests/pipeline/tiny.yaml"
EPOCHS = (60, 75)
"""Epochs of the last phase of a first run, and of a second one that goes on from it."""
EMPTY = """
from tomopt_tasks import _settings
from prefect import flow
from flows.serving import prefect_server

@flow
def empty():
    return None

with prefect_server():
    empty()
"""
"""What Prefect costs by itself: a server, and a flow that does nothing."""


def clock(work: Callable[[], object], who: int = resource.RUSAGE_SELF) -> Took:
    """CPU time of this process, or of its children, and wall time [s]."""

    def cpu() -> float:
        used = resource.getrusage(who)
        return used.ru_utime + used.ru_stime

    begun, wall = cpu(), time.perf_counter()
    work()
    return cpu() - begun, time.perf_counter() - wall


def study_of(epochs: int) -> Study:
    """Four small volumes; an epoch is a few milliseconds of physics."""
    return load_study(ROOT / TINY, [("fit.phases[1].epochs", str(epochs))])


def run_plain(folder: Path, epochs: int) -> tuple[Took, Took, Run]:
    """A run without Prefect: what it took, what of it was physics, and the run."""
    physics = [0.0, 0.0]
    epoch = VolumeLoop.fit_epoch

    def timed(loop: VolumeLoop) -> None:
        for k, took in enumerate(clock(lambda: epoch(loop))):
            physics[k] += took

    runs = []

    def work() -> None:
        with begin(study_of(epochs), open_store(folder), "plain") as run:
            run_all(run)
        runs.append(run)

    VolumeLoop.fit_epoch = timed  # type: ignore[method-assign]
    try:
        took = clock(work)
    finally:
        VolumeLoop.fit_epoch = epoch  # type: ignore[method-assign]
    return took, (physics[0], physics[1]), runs[0]


def costs(load: Load) -> list[tuple[str, Took]]:
    """CPU and wall time [s] of each of: an epoch beyond its physics, a hit, a cached study."""
    body.bodies()
    with tempfile.TemporaryDirectory() as folder:
        first, last = (run_plain(Path(folder), n) for n in EPOCHS)
        again = run_plain(Path(folder), EPOCHS[1])
        load.look()
        more = EPOCHS[1] - EPOCHS[0]
        plain = run_plain(Path(folder), EPOCHS[1] + 1)  # one epoch, both predictions, the judgement
        beyond = [
            (last[0][k] - last[1][k] - plain[0][k] + plain[1][k]) / (more - 1) for k in (0, 1)
        ]
        hits = again[2].cached
        assert (len(again[2].executed), first[2].cached) == (0, 0)
        words = ["-m", "tomopt_tasks.cli", "run", TINY, "--store", folder]
        words += ["--set", f"fit.phases[1].epochs={EPOCHS[1]}"]
        _python(*words)  # Prefect has a database now, and the study its report
        cached, empty = (
            clock(lambda words=w: _python(*words), resource.RUSAGE_CHILDREN)
            for w in (words, ["-c", EMPTY])
        )
        load.look()
    return [
        (f"an executed epoch beyond its physics, of {more - 1}", (beyond[0], beyond[1])),
        (f"a cached stage, of {hits}", (again[0][0] / hits, again[0][1] / hits)),
        (f"a cached study of {hits} stages under Prefect", cached),
        ("Prefect alone: a server and an empty flow", empty),
        ("the difference", (cached[0] - empty[0], cached[1] - empty[1])),
    ]


def _python(*words: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, check=True, capture_output=True
    )
