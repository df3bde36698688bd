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
        found.append(self.memory.limit)

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


KEPT, ANEW = 1 << 30, 0
"""Six volumes of two pieces: twelve looks and twelve graphs; or, if nothing is kept, five more
looks at each piece for its sums, and three for what these make of each other: calls 73 to 120."""


@pytest.fixture
def halves(monkeypatch):
    """Volumes come in two pieces."""
    monkeypatch.setattr(scans, "BLOCK", 30)
    monkeypatch.setattr(scans, "CHUNK", 30)


@pytest.mark.parametrize(
    ("memory", "call"), [(KEPT, 2), (KEPT, 5), (KEPT, 12), (KEPT, 20), (ANEW, 80), (ANEW, 119)]
)
def test_pieces_that_find_no_memory_are_formed_again_with_equal_bits(
    memory, call, monkeypatch, halves
):
    kept, hooks = gradients("sums", KEPT)
    device = Device(ScatterBatch, lambda calls: calls == call)
    monkeypatch.setattr("tests.unit.wrapper.test_replay.ScatterBatch", device)
    found, hooks_found = gradients("sums", memory)
    assert device.calls > call
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    assert hooks_found == hooks


@pytest.mark.parametrize(
    ("memory", "first"),
    [*((KEPT, n) for n in (1, 2, 13, 24)), *((ANEW, n) for n in (1, 2, 13, 73, 120))],
)
def test_a_device_that_cannot_hold_one_piece_ends_in_a_sentence(memory, first, monkeypatch, halves):
    device = Device(ScatterBatch, lambda calls: calls >= first)
    monkeypatch.setattr("tests.unit.wrapper.test_replay.ScatterBatch", device)
    with pytest.raises(UserError, match=r"no memory left for one scan.*--device cpu"):
        gradients("sums", memory)


@pytest.mark.parametrize(("memory", "call"), [(KEPT, 1), (ANEW, 1), (ANEW, 20)])
def test_a_device_that_is_full_with_nothing_to_drop_ends_in_a_sentence(
    memory, call, monkeypatch, halves
):
    device = Device(ScatterBatch, lambda calls: calls == call)
    monkeypatch.setattr("tests.unit.wrapper.test_replay.ScatterBatch", device)
    with pytest.raises(UserError, match="no memory left for one scan"):
        gradients("sums", memory)
    assert device.calls == call


@pytest.mark.parametrize("first", [1, 4], ids=["forward", "backward"])
def test_a_device_that_cannot_hold_one_scan_ends_in_a_sentence(first, monkeypatch):
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    device = Device(ScatterBatch, lambda calls: calls >= first)
    monkeypatch.setattr("tests.unit.wrapper.test_replay.ScatterBatch", device)
    with pytest.raises(UserError, match=r"no memory left for one scan.*--device cpu"):
        gradients("quantiles", 0)
