"""Time and memory of one step as muons and voxels grow, each in a process of its own.

The bank is made, stored and read as the pipeline does; it counts for the memory, reading it for the
time.

python -m tests.benchmarks.speed.scaling VOLUMES MUONS VOXEL
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from tests.benchmarks.speed import engine
from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.timing import clocked
from tomopt_tasks.stages import states_of
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.volume.settings import World

ROOT = Path(__file__).parents[3]
MUONS = (
    (10, 1000), (100, 1000), (1000, 1000), (1000, 4000),
    (1, 40_000), (1, 400_000), (1, 4_000_000), (1, 8_000_000),
)  # fmt: skip
"""Volumes and muons a volume of ``small``: ten thousand muons to four million, and many in one."""
VOXELS = (0.1, 0.05, 0.025)
"""Edge of a voxel [m]: 600, 4800 and 38 400 of them."""


def peak_mb() -> float:
    """The most memory that this process has had [MB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(volumes: int, muons: int, voxel: float, dtype: str) -> dict[str, float]:
    """One step on the grid of ``small`` with other voxels."""
    torch.set_num_threads(1)
    world = World(passive=(0.2, 0.8), height=1.0, voxel=voxel)
    engine.WORLDS["small"] = world
    scene = engine.SCENES["small"]
    engine.SCENES["small"] = scene.model_copy(update={"volumes": volumes})
    step = engine.Step(Case("small", volumes, muons), getattr(torch, dtype), voxel=voxel)
    before = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder)
        bank = store.open_dataset(engine.stream_bank(store, step))
        cpu, _ = clocked(lambda _: step.infer(states_of(bank)))(0)
    return {
        "muons": volumes * muons, "voxels": 600 * round(0.1 / voxel) ** 3,
        "us": 1e6 * cpu / (volumes * muons), "before_mb": before, "peak_mb": peak_mb(),
    }  # fmt: skip


def apart(volumes: int, muons: int, voxel: float, dtype: str) -> dict[str, float]:
    """The same in a fresh process."""
    words = [str(volumes), str(muons), str(voxel), dtype]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.speed.scaling", *words],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    one, two, three, four = sys.argv[1:]
    sys.stdout.write(json.dumps(measure(int(one), int(two), float(three), four)))
