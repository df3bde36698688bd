"""The same code on a device that is not the CPU: one that any machine has (`other_device`).

What CUDA does beyond it, its arithmetic and its random numbers, is for tests with the mark ``gpu``.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
SEEN_X0 = ["tolist", "inference/voxels.py:get_predictions"]
SEEN_LEVEL = ["tolist", "inference/ladle.py:get_predictions"]
SENT = ["upload", "wrapper/scans.py:rows"]
EQUAL_TARGETS = ["tolist", "losses/spread.py:_rows", 1]
RANGES = [EQUAL_TARGETS, ["upload", "losses/spread.py:<listcomp>", 3]]
ERRORS = [EQUAL_TARGETS, ["upload", "losses/spread.py:expected_mse", 3]]
UPDATES = {
    "sums, two scans": (2, SEEN_X0, []),
    "sums-tomopt, two scans": (2, SEEN_X0, []),
    "quantiles, two scans": (2, SEEN_LEVEL, RANGES),
    "variances, two scans": (2, SEEN_LEVEL, ERRORS),
    "network, two scans": (2, SEEN_X0, []),
    "sums, formed anew": (4, SEEN_X0, []),
    "quantiles, formed anew": (4, SEEN_LEVEL, RANGES),
    "small 3x60": (1, SEEN_X0, []),
    "ladle 16x60": (1, SEEN_LEVEL, [EQUAL_TARGETS, ["upload", "losses/spread.py:<listcomp>", 4]]),
    "walls 2x60": (1, SEEN_X0, []),
}
"""How often scans are formed; what asks at the end of each which volumes were seen, and what losses
ask once an update, after its scans: which volumes have equal targets."""
PIECES = {"sums, in pieces": (SEEN_X0, []), "quantiles, in pieces": (SEEN_LEVEL, RANGES)}


@pytest.fixture(scope="module")
def found():
    """What a process of its own says: autograd asks for devices but once."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.wrapper.on_other_device"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_on_another_device_is_that_of_the_cpu(found, name):
    """Nothing is made on the CPU by mistake; the host sends the muons of a scan, and asks once."""
    n_scans, seen, of_losses = UPDATES[name]
    update = found["updates"][name]
    assert update["apart"] < 1e-13
    assert update["devices"] == ["other"]
    assert update.get("hooks", True)
    assert update["waits"] == sorted([[*SENT, n_scans], [*seen, n_scans], *of_losses])


@pytest.mark.parametrize("name", PIECES)
def test_pieces_of_a_volume_wait_for_their_muons_alone(found, name):
    seen, of_losses = PIECES[name]
    update = found["updates"][name]
    assert update["apart"] < 1e-13
    assert update["devices"] == ["other"]
    assert update["hooks"]
    (sent,) = [wait for wait in update["waits"] if wait[:2] == SENT]
    assert sent[2] == 6 * 2 * 2  # volumes, pieces; for the sums, and for their gradients
    assert sorted(update["waits"]) == sorted([sent, [*seen, 6], *of_losses])


def test_all_that_was_tried_is_looked_at(found):
    assert found["updates"].keys() == UPDATES.keys() | PIECES.keys()


def test_a_bank_made_on_another_device_has_the_bits_of_the_cpu(found):
    assert found["bank"] == 0.0


MIXED = """
import torch
from tests.other_device import OtherDevice

with OtherDevice() as other:
    there = torch.arange(3.0, device=other.device)
    assert (there * 2.0 + torch.tensor(1.0)).cpu().tolist() == [1.0, 3.0, 5.0]
    for mix in (
        lambda: there + torch.ones(3),
        lambda: torch.cat([there, torch.ones(3)]),
        lambda: torch.where(torch.ones(3) > 0, there, 0.0),
        lambda: there.index_select(0, torch.tensor([0])),
    ):
        try:
            mix()
        except RuntimeError as error:
            assert "same device" in str(error), error
        else:
            raise AssertionError("tensors of two devices were mixed")
    x, mask = there, there > 0
    waits = [
        lambda: float(x[0]), lambda: bool(mask.all()), lambda: x.tolist(), lambda: x.cpu(),
        lambda: x[mask], lambda: x.index_put((mask,), torch.tensor(1.0)), lambda: x.nonzero(),
        lambda: x.unique(), lambda: torch.equal(x, x), lambda: x.masked_select(mask),
        lambda: x.repeat_interleave(x.long()), lambda: x[torch.tensor([0])],
        lambda: torch.tensor([1.0], device=x.device), lambda: torch.ones(3).to(x.device),
        lambda: x.new_tensor([2.0]), lambda: x.copy_(torch.ones(3)),
    ]
    for n, wait in enumerate(waits):
        before = other.waits.total()
        wait()
        assert other.waits.total() > before, (n, other.waits)
    before = other.waits.total()
    torch.where(x > 0, x, 0.0).clamp(max=2.0).index_select(0, x.long()).sum()
    assert other.waits.total() == before
"""


def test_the_device_refuses_to_mix_and_counts_what_waits():
    """As CUDA does; a number of the host may meet tensors of the device."""
    done = subprocess.run(
        [sys.executable, "-c", MIXED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert not torch.cuda.is_initialized()
