"""Print how long commits, plans and a look through a store of a thousand epochs take.

    python -m tests.benchmarks.store

Wall and CPU times of this machine as it is now, so no test reads them: what the times come from
(files read, calls made, libraries imported) is tested in tests/pipeline/test_thousand_epochs.py.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tomopt_tasks.config.load import load_study
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import PlainStage, begin, run_all
from tomopt_tasks.store.opening import open_store

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests/pipeline/tiny.yaml"
CHANGE = ("fit.phases[0].epochs", "997")
"""With the search and the second phase of the small study 1000 epochs."""
LONGER = ("fit.phases[1].epochs", "30")

TIMED = """
import sys, time
begun, wall = time.process_time(), time.perf_counter()
from tomopt_tasks import cli
sys.argv = ["tomopt", *sys.argv[1:]]
try:
    cli.main()
finally:
    print(time.process_time() - begun, time.perf_counter() - wall)
"""


def checkpoint(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tree and metrics of a real checkpoint of the small study, fitted in a folder."""
    store = open_store(folder)
    with begin(load_study(TINY, [("fit.phases[1].epochs", "0")]), store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            refs = run.all(PlainStage(name))
    return store.get_record(refs[-1]), refs[-1].metrics


def fill(folder: Path) -> None:
    """Put an object of real size for every stage of the study of a thousand epochs."""
    with tempfile.TemporaryDirectory() as apart:
        tree, metrics = checkpoint(Path(apart) / "store")
    store, study = open_store(folder), load_study(TINY, [CHANGE])
    for stage in plan_study(study):
        store.put_record(stage.kind, stage.key, {**tree, "of": stage.key}, metrics)
    with begin(study, store) as run:
        run_all(run)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="of each command")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for what, said in figures(Path(folder), asked.repeats):
            sys.stdout.write(f"{what:42} {said}\n")


def figures(folder: Path, repeats: int) -> Iterator[tuple[str, str]]:
    """Name and value of each figure."""
    tree, metrics = checkpoint(folder / "one")
    yield "commit of a checkpoint, wall", commits(folder / "commits", tree, metrics)
    fill(folder / "store")
    blocks = sum(path.lstat().st_blocks for path in (folder / "store").rglob("*"))
    yield "a thousand epochs on disk", f"{blocks * 512 / 1e6:.1f} MB"
    study = [str(TINY), "--set", "=".join(CHANGE)]
    longer = [*study, "--set", "=".join(LONGER)]
    for what, words in (
        ("plan, all stored", ["plan", *study]),
        ("plan, 30 epochs more", ["plan", *longer]),
        ("verify", ["verify"]),
        ("verify --deep", ["verify", "--deep"]),
    ):
        cpu, wall = zip(
            *(timed([*words, "--store", str(folder / "store")]) for _ in range(repeats)),
            strict=True,
        )
        yield what, f"{min(cpu):.2f} s of CPU, {min(wall):.2f} s wall (best of {repeats})"


def commits(folder: Path, tree: dict[str, Any], metrics: dict[str, Any], count: int = 200) -> str:
    """Median and 95th percentile of commits with all their fsyncs."""
    store = open_store(folder)

    def commit(number: int) -> None:
        store.put_record("checkpoint", f"{number:064x}", {**tree, "of": number}, metrics)

    took = sorted(clock(lambda number=number: commit(number)) for number in range(count))
    median, most = statistics.median(took), took[-count // 20]
    return f"median {median * 1e3:.1f} ms, 95 % below {most * 1e3:.1f} ms"


def clock(call: Callable[[], None]) -> float:
    """Seconds that a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def timed(words: list[str]) -> tuple[float, float]:
    """Seconds of CPU and of wall time of a command beyond the interpreter's start."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    cpu, wall = done.stdout.splitlines()[-1].split()
    return float(cpu), float(wall)


if __name__ == "__main__":
    main()
