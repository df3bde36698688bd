"""Steps of the workloads with compiled kernels: the same but for rounding, nothing made twice."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch.testing import assert_close

from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step
from tomopt_tasks import machine_code

CASES = (Case("small", 1, 400), Case("small", 7, 300), Case("ladle", 16, 60), Case("walls", 2, 200))
AGAIN = """
import sys
from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step
Step(Case("small", 3, 123), compiled=True)(0)
assert "torch._inductor" not in sys.modules
"""


def forbidden(*_: object) -> None:
    raise AssertionError("a kernel was compiled a second time")


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_steps_have_the_losses_and_gradients_of_the_others(monkeypatch):
    for case in CASES:
        found = []
        for compiled in (False, True):
            step = Step(case, compiled=compiled)
            step(0)
            loss = step.wrapper.fit_params.mean_loss.detach().sum()
            found.append((loss, step.gradients()))
        (loss, gradients), (compiled_loss, compiled_gradients) = found
        assert_close(compiled_loss, loss, rtol=1e-9, atol=0)
        for name, gradient in gradients.items():
            largest = float(gradient.abs().max())
            assert_close(compiled_gradients[name], gradient, rtol=0, atol=1e-6 * largest)
        if case.scene == "small":
            (bits,) = {tuple(compiled_gradients), tuple(gradients)}
            step(0)
            again = step.gradients()
            assert all(torch.equal(again[name], compiled_gradients[name]) for name in bits)
    monkeypatch.setattr(machine_code, "_compile", forbidden)
    for case in (Case("small", 5, 77), Case("small", 2, 9000)):  # in several blocks of muons, too
        Step(case, compiled=True)(0)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", AGAIN], check=True, env=environment)
