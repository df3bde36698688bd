"""Rates of making and of reading muon banks."""

import os
import shutil
from pathlib import Path

import torch

from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step, put_bank
from tests.benchmarks.speed.timing import Arm, Load, Times, clocked, interleave
from tomopt_tasks.store.opening import open_store

MADE = Case("ladle", 40, 4096)
"""Ten layers."""


def bank_times(folder: Path, rounds: int, load: Load) -> tuple[dict[str, Times], int]:
    """Times of making a bank and of reading it again with all checks, and its size in bytes."""
    step, store = Step(MADE), open_store(folder)
    arms: dict[str, Arm] = {"made": clocked(step.transport)}
    if shutil.which("g++"):
        arms["made, compiled"] = clocked(Step(MADE, compiled=True).transport)
    state = step.transport(0)
    ref = put_bank(store, state, 0)

    def read(_: int) -> None:
        assert store.open_dataset(ref).array("state").nbytes == state.nbytes

    return interleave(arms | {"read": clocked(read)}, rounds, load), state.nbytes


def machine() -> dict[str, str | int]:
    """What the figures belong to."""
    name = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    return {"processor": name, "cores": os.cpu_count() or 1, "threads": torch.get_num_threads()}
