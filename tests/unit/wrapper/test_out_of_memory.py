"""When a device has no memory left, graphs are dropped and formed anew: the bits stay."""

import pytest
import torch

from tests.unit.wrapper.test_replay import CASES, N_MUONS, gradients
from tomopt_tasks.core import UserError
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.wrapper import scans
from tomopt_tasks.wrapper.loop import VolumeLoop


class Device:
    """Says at some of the calls that its memory is full."""

    def __init__(self, work, full) -> None:
        self.work, self.full, self.calls = work, full, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        if self.full(self.calls):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.work(*args, **kwargs)


@pytest.fixture
def memories(monkeypatch):
    """What each wrapper may hold at the end of its scans, in order."""
    found = []
    end = VolumeLoop._end_batch

    def noted(self, n_volumes):
        end(self, n_volumes)
        found.append(self.memory)

    monkeypatch.setattr(VolumeLoop, "_end_batch", noted)
    return found


@pytest.mark.parametrize("call", [1, 2, 3, 4], ids="call {}".format)
def test_scatters_that_find_no_memory_are_formed_again_with_equal_bits(call, monkeypatch, memories):
    """The fourth call is the first of the backward pass, which forms a scan anew."""
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    kept, hooks = gradients("quantiles", 1 << 30)
    memory = 1 << 30 if call < 4 else 0
    device = Device(ScatterBatch, lambda calls: calls == call)
    monkeypatch.setattr("tests.unit.wrapper.test_replay.ScatterBatch", device)
    found, hooks_found = gradients("quantiles", memory)
    assert device.calls >= 4
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    assert hooks_found == hooks
    assert memories == [1 << 30, memory // 2]


@pytest.mark.parametrize("case", ["sums", "quantiles", "variances"])
def test_predictions_that_find_no_memory_are_formed_again(case, monkeypatch, memories):
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    kept, hooks = gradients(case, 1 << 30)
    inferrer, *rest = CASES[case]
    made = []

    def build(**kwargs):
        built = inferrer(**kwargs)
        made.append(built)
        if len(made) == 2:  # of the second scan, whose first prediction fails
            name = "get_predictions"
            setattr(built, name, Device(getattr(built, name), lambda calls: calls == 1))
        return built

    monkeypatch.setitem(CASES, case, (build, *rest))
    found, hooks_found = gradients(case, 1 << 30)
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    assert hooks_found == hooks
    assert memories == [1 << 30, 1 << 29]


@pytest.mark.parametrize("first", [1, 4], ids=["forward", "backward"])
def test_a_device_that_cannot_hold_one_scan_ends_in_a_sentence(first, monkeypatch):
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    device = Device(ScatterBatch, lambda calls: calls >= first)
    monkeypatch.setattr("tests.unit.wrapper.test_replay.ScatterBatch", device)
    with pytest.raises(UserError, match=r"no memory left for one scan.*--device cpu"):
        gradients("quantiles", 0)
