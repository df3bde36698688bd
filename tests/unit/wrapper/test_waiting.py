"""Nothing within a scan of banked muons makes the host wait for the device."""

import pytest
import torch

from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step
from tests.waits import Waits
from tomopt_tasks.wrapper import scans
from tomopt_tasks.wrapper.loop import VolumeLoop

N_MUONS = 60
SEEN_X0 = ("tolist", "inference/voxels.py:get_predictions")
SEEN_LEVEL = ("tolist", "inference/ladle.py:get_predictions")
TARGETS = ("tolist", "losses/spread.py:_rows")
ALLOWED = {
    Case("small", 3, N_MUONS): (SEEN_X0, {}),
    Case("ladle", 16, N_MUONS): (SEEN_LEVEL, {TARGETS: 1}),
    Case("walls", 2, N_MUONS): (SEEN_X0, {}),
}
"""What asks at the end of each scan which volumes were seen, and what else asks once an update."""


def waits_of_an_update(case, monkeypatch, *, scans_of=None):
    """What makes the host wait in the second of two updates with the same muons."""
    if scans_of is not None:
        monkeypatch.setattr(scans, "CHUNK", scans_of * N_MUONS)
    step = Step(case)
    state = step.transport(0)
    step.infer(state)  # the host gets to know the geometry and the weight of the cost
    whole, waits = VolumeLoop._scan_volumes, Waits()

    def watched(self, passives):
        with waits:
            whole(self, passives)

    monkeypatch.setattr(VolumeLoop, "_scan_volumes", watched)
    step.infer(state)
    return waits


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: case.scene)
def test_the_host_asks_once_a_scan_when_all_is_done(case, monkeypatch):
    per_scan, per_update = ALLOWED[case]
    waits = waits_of_an_update(case, monkeypatch)
    assert waits.calls > 1000
    assert waits.found == {per_scan: 1, **per_update}


def test_scans_of_an_update_ask_once_each(monkeypatch):
    case = next(iter(ALLOWED))
    waits = waits_of_an_update(case, monkeypatch, scans_of=1)
    assert waits.found == {SEEN_X0: case.volumes}


WAYS = {
    "float": lambda x: float(x[0]),
    "bool": lambda x: bool((x > 0).all()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "mask": lambda x: x[x > 0],
    "put by a mask": lambda x: x.index_put((x > 0,), x.new_tensor(1.0)),
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "equal": lambda x: torch.equal(x, x),
    "masked_select": lambda x: x.masked_select(x > 0),
    "repeat_interleave": lambda x: x.repeat_interleave(torch.tensor([1, 2, 3])),
}


@pytest.mark.parametrize("way", WAYS)
def test_all_ways_to_wait_are_noticed(way):
    with Waits() as waits:
        WAYS[way](torch.ones(3))
    assert waits.found.total() >= 1


def test_arithmetic_does_not_wait():
    with Waits() as waits:
        x = torch.ones(3, requires_grad=True)
        (torch.where(x > 0, x, 0.0) * x.clamp(max=2.0))[torch.tensor([0, 2])].sum().backward()
    assert waits.found.total() == 0
    assert waits.calls > 5
