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
STEP = """
from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step
Step(Case("small", {volumes}, {muons}), compiled=True)(0)
"""
NOTHING_IS_MADE = """
import torch._inductor
torch._inductor.aoti_compile_and_package = None
"""


def forbidden(*_: object) -> None:
    raise AssertionError("a kernel was compiled a second time")


@pytest.mark.long
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_steps_have_the_losses_and_gradients_of_the_others(monkeypatch):
    for case in CASES:
        plain, compiled = Step(case), Step(case, compiled=True)
        bank = plain.transport(0)
        # kicks are in single precision: a few roundings of some centimetres
        assert_close(compiled.transport(0), bank, rtol=1e-5, atol=1e-5)
        losses = []
        for step in (plain, compiled):
            step.infer(bank)
            losses.append(step.wrapper.fit_params.mean_loss.detach().sum())
        assert_close(losses[1], losses[0], rtol=1e-10, atol=0)
        found = compiled.gradients()
        for name, gradient in plain.gradients().items():
            tolerance = 1e-6 * float(gradient.abs().max())
            assert_close(found[name], gradient, rtol=0, atol=tolerance)
        compiled.infer(bank)
        again = compiled.gradients()
        assert all(torch.equal(again[name], gradient) for name, gradient in found.items())
    monkeypatch.setattr(machine_code, "_compile", forbidden)
    for case in (Case("small", 5, 77), Case("small", 2, 9000)):  # in several blocks of muons, too
        Step(case, compiled=True)(0)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    first = STEP.format(volumes=2, muons=200)  # without the type checker, which is other code
    again = NOTHING_IS_MADE + STEP.format(volumes=3, muons=123)
    for script in (first, again):
        subprocess.run([sys.executable, "-c", script], check=True, env=environment)
