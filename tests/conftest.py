"""What every test needs: one thread, no display, reproducible examples, slow tests last."""

import os
import signal
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # so it is in the background of a script, and processes under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("reproducible", derandomize=True, deadline=None)
settings.load_profile("reproducible")


HERE = Path(__file__).parent
SLOW_FOLDERS = {"physics", "laws", "pipeline", "benchmarks", "e2e", "torture"}
"""Samples, sweeps and whole pipelines; `make fast` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip GPU tests without a GPU; run slow ones last, so that quick failures show first."""
    skip = pytest.mark.skip(reason="needs a CUDA device")
    has_gpu = torch.cuda.is_available()
    for item in items:
        if SLOW_FOLDERS & set(item.path.parts[len(HERE.parts) :]):  # wherever the clone lies
            item.add_marker(pytest.mark.slow)
        if "gpu" in item.keywords and not has_gpu:
            item.add_marker(skip)
    items.sort(key=lambda item: "slow" in item.keywords)
