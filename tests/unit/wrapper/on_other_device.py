"""Says how updates go on a device that is not the CPU; a process of its own, see the test.

python -m tests.unit.wrapper.on_other_device
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor

from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step
from tests.other_device import OtherDevice
from tests.unit.wrapper.common import WORLD, passives
from tests.unit.wrapper.test_replay import CASES, N_MUONS, gradients
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport import bank as bank_module
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.wrapper import scans
from tomopt_tasks.wrapper.base import AbsVolumeWrapper
from tomopt_tasks.wrapper.loop import VolumeLoop
from tomopt_tasks.wrapper.scans import BankedPassives

Grads = Mapping[str, Tensor]


@contextmanager
def counting(other: OtherDevice) -> Iterator[Counter[tuple[str, str]]]:
    """Counts waits of scans and their updates, of the last fit in it alone."""
    whole = VolumeLoop._scan_volumes

    def counted(self, passives):
        other.waits.clear()
        whole(self, passives)
        last.clear()
        last.update(other.waits)

    last: Counter[tuple[str, str]] = Counter()
    with mock.patch.object(VolumeLoop, "_scan_volumes", counted):
        yield last


def said(waits: Counter[tuple[str, str]], here: Grads, there: Grads) -> dict[str, object]:
    """How far gradients are from those on the CPU, and what the host waited for."""
    apart = [
        float((there[name].cpu() - grad).abs().max() / grad.abs().max().clamp_min(1e-30))
        for name, grad in here.items()
    ]
    return {
        "apart": max(apart),
        "devices": sorted({grad.device.type for grad in there.values()}),
        "waits": sorted([*key, n] for key, n in waits.items()),
    }


def update(case: str, chunk: int, n_muons: int, memory: int) -> dict[str, object]:
    """The second update of a detector, with each kind of inference."""
    bank = passives(2, n_muons)
    arguments = {"n_muons": n_muons, "epochs": 2}
    with mock.patch.object(scans, "CHUNK", chunk), mock.patch.object(scans, "BLOCK", 30):
        here, hooks = gradients(case, memory, bank=bank, **arguments)
        with OtherDevice() as other, counting(other) as waits:
            x0, target = (of.to(other.device) for of in (bank.x0, bank.target))
            moved = BankedPassives(x0, target, bank.state)
            there, hooks_there = gradients(
                case, memory, bank=moved, device=other.device, **arguments
            )
            return said(waits, here, there) | {"hooks": hooks == hooks_there}


def move(wrapper: AbsVolumeWrapper, device: torch.device) -> None:
    """As ``wrapper.to``, where a tensor cannot take another's place as on CUDA."""
    before = dict(wrapper.volume.named_parameters())
    wrapper.to(device)
    new = {id(before[name]): moved for name, moved in wrapper.volume.named_parameters()}
    for opt in wrapper.opts.values():
        for group in opt.param_groups:
            group["params"] = [new[id(parameter)] for parameter in group["params"]]


def step(case: Case) -> dict[str, object]:
    """The second update of a workload of the benchmarks."""
    here, there = Step(case), Step(case)
    state = here.transport(0)
    for _ in range(2):
        here.infer(state)
    with OtherDevice() as other, counting(other) as waits:
        move(there.wrapper, other.device)
        there.x0, there.target = (of.to(other.device) for of in (there.x0, there.target))
        for _ in range(2):
            there.infer(state)
        return said(waits, here.gradients(), there.gradients())


def bank() -> float:
    """The largest difference between a bank made on the CPU and one made there."""
    x0 = passives(1).x0
    arguments = (WORLD, MuonSettings(per_volume=5000), HighlandSettings(), 3, "train")
    here, generated = transport(x0, *arguments)
    with OtherDevice() as other:
        with mock.patch.object(bank_module, "STRETCH", 4096):
            there, generated_there = transport(x0.to(other.device), *arguments)
        assert there.device.type == other.device.type
        assert torch.equal(generated_there.cpu(), generated)
        return float((there.cpu() - here).abs().max())


WAYS = {
    "two scans": (3 * N_MUONS, N_MUONS, 1 << 30),
    "formed anew": (3 * N_MUONS, N_MUONS, 0),
    "in pieces": (60, 120, 1 << 30),
}
"""Muons a scan or piece, muons a volume, bytes that may be held."""
STEPS = (Case("small", 3, N_MUONS), Case("ladle", 16, N_MUONS), Case("walls", 2, N_MUONS))

if __name__ == "__main__":
    OtherDevice()
    asked = [(case, "two scans") for case in CASES]
    asked += [(case, way) for case in ("sums", "quantiles") for way in ("formed anew", "in pieces")]
    found = {f"{case}, {way}": update(case, *WAYS[way]) for case, way in asked}
    found |= {case.name: step(case) for case in STEPS}
    sys.stdout.write(json.dumps({"updates": found, "bank": bank()}))
