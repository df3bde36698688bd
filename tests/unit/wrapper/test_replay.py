"""Many scans an update: equal bits whether graphs are kept or formed anew, and constant memory."""

import gc
from collections import Counter
from contextlib import nullcontext
from functools import partial

import pytest
import torch
from torch import nn

from tests.unit.wrapper.common import HookRecord, notebook_volume, passives
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.ladle import ExpectedMSELoss, SpreadRangeLoss
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.learned import DeepVolumeInferrer, VolumeNet, attach_model
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.voxels import PanelX0Inferrer, TomOptX0
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper import scans
from tomopt_tasks.wrapper.family import ArbVolumeWrapper
from tomopt_tasks.wrapper.scans import BankedPassives

N_MUONS = 60
CASES = {
    "sums": (PanelX0Inferrer, partial(VoxelX0Loss, target_budget=5.0), None),
    "sums-tomopt": (
        partial(PanelX0Inferrer, method=TomOptX0()), partial(VoxelX0Loss, target_budget=5.0), None
    ),
    "quantiles": (PocaZLadleFurnaceFillLevelInferrer, None, SpreadRangeLoss),
    "variances": (PocaZLadleFurnaceFillLevelInferrer, None, ExpectedMSELoss),
    "network": (DeepVolumeInferrer, partial(VolumeMSELoss, target_budget=5.0), None),
}  # fmt: skip


def gradients(
    case, memory, budget=6.0, bank=None, size=None, n_muons=N_MUONS, *, device="cpu", epochs=1
):
    """Gradients of all parameters for the last of some updates, and the hooks that fired."""
    inferrer, loss, callback = CASES[case]
    volume = notebook_volume(budget).to(device)
    if case == "network":
        attach_model(volume, VolumeNet(start=1.0, seed=2))
        with torch.no_grad():
            for parameter in volume.inference_model.parameters():
                parameter.add_(0.01)
    wrapper = ArbVolumeWrapper(
        volume,
        opts={"all": torch.optim.SGD(volume.parameters(), lr=0.0)},
        loss_func=None if loss is None else loss(),
        mu_generator=lambda n, **_: torch.zeros(n, 5),
        seed=4,
        partial_scatter_inferrer=ScatterBatch,
        partial_volume_inferrer=inferrer,
    )
    wrapper.memory.limit = memory
    bank = passives() if bank is None else bank
    record = HookRecord()
    wrapper.begin(
        [*([] if callback is None else [callback()]), record],
        trn_passives=bank,
        val_passives=None,
        passive_bs=size or len(bank),
        n_mu_per_volume=n_muons,
        mu_bs=n_muons,
        epoch=0,
    )
    wrapper.hook("on_train_begin")
    for _ in range(epochs):
        wrapper.fit_epoch()
    found = {n: p.grad for n, p in volume.named_parameters() if p.grad is not None}
    return found, record.names()


def live() -> int:
    """Wrappers that somebody still holds."""
    gc.collect()
    return sum(type(found) is ArbVolumeWrapper for found in gc.get_objects())


@pytest.mark.parametrize("memory", [0, 1 << 30], ids=["formed anew", "kept"])
@pytest.mark.parametrize("chunk", [2 * N_MUONS, N_MUONS // 2], ids=["scans", "pieces"])
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_left_of_a_wrapper_that_nobody_uses_any_more(case, chunk, memory, monkeypatch):
    monkeypatch.setattr(scans, "CHUNK", chunk)
    before = live()
    gradients(case, memory)
    assert live() == before


@pytest.mark.parametrize("budget", [6.0, None], ids=["budget", "free"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_do_not_depend_on_how_many_graphs_are_kept(case, budget, monkeypatch):
    whole, _ = gradients(case, 1 << 30, budget)
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    kept, hooks = gradients(case, 1 << 30, budget)
    again, hooks_again = gradients(case, 0, budget)
    some, _ = gradients(case, 2 * N_MUONS * scans.NUMBERS_PER_MUON * 8, budget)
    assert kept.keys() == again.keys() == whole.keys()
    assert any(float(g.abs().max()) > 0 for g in whole.values())
    for name in kept:
        assert torch.equal(kept[name], again[name]), name
        assert torch.equal(kept[name], some[name]), name
        torch.testing.assert_close(kept[name], whole[name], rtol=1e-6, atol=1e-12)
    assert hooks == hooks_again


@pytest.mark.parametrize("case", ["sums", "quantiles"])
def test_one_volume_at_a_time_gives_the_gradient_of_all(case, monkeypatch):
    whole, _ = gradients(case, 1 << 30)
    monkeypatch.setattr(scans, "CHUNK", 1)
    single, _ = gradients(case, 0)
    for name in whole:
        torch.testing.assert_close(single[name], whole[name], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("memory", [0, 1 << 30], ids=["formed anew", "kept"])
def test_the_cost_of_a_detector_is_formed_once_an_update(memory, monkeypatch):
    """Volumes of an update share one cost, which the next update must not see."""
    formed, get_cost = [], PanelDetectorLayer.get_cost

    def counted(layer):
        formed.append(layer.pos)
        return get_cost(layer)

    monkeypatch.setattr(PanelDetectorLayer, "get_cost", counted)
    monkeypatch.setattr(scans, "CHUNK", 2 * N_MUONS)
    found, _ = gradients("sums", memory, budget=None)
    assert formed == ["above", "below"]
    gradients("sums", memory, budget=None, size=2)  # three updates of two volumes
    assert formed == 4 * ["above", "below"]
    hold_cost = Volume.hold_cost
    monkeypatch.setattr(Volume, "hold_cost", lambda volume, **_: hold_cost(volume, on=False))
    apart, _ = gradients("sums", memory, budget=None)
    for name in apart:
        torch.testing.assert_close(found[name], apart[name], rtol=1e-12, atol=1e-15)


def test_a_cost_without_a_graph_does_not_stand_for_one_that_needs_it():
    volume = notebook_volume(None)
    volume.hold_cost(on=True)
    with torch.no_grad():
        plain = volume.get_cost()
    cost = volume.get_cost()
    assert torch.equal(cost, plain)
    assert cost.requires_grad
    assert volume.get_cost() is cost
    volume.hold_cost(on=False)
    assert volume.get_cost() is not cost


class _Stops(Callback):
    """Looks at the cost after the step, or raises within an update."""

    def __init__(self, *, fails: bool) -> None:
        super().__init__()
        self.fails, self.costs = fails, []

    def on_volume_end(self) -> None:
        self.costs.append(self.wrapper.volume.get_cost())
        if self.fails:
            raise RuntimeError("enough")

    def on_step_end(self) -> None:
        self.costs.append(self.wrapper.volume.get_cost())


@pytest.mark.parametrize("fails", [False, True])
def test_a_cost_is_not_held_beyond_its_update(fails, monkeypatch):
    stops = _Stops(fails=fails)
    monkeypatch.setitem(CASES, "sums", (*CASES["sums"][:2], lambda: stops))
    with pytest.raises(RuntimeError, match="enough") if fails else nullcontext():
        gradients("sums", 1 << 30, budget=None)
    if not fails:
        assert stops.costs[-1] is not stops.costs[-2]  # the step has changed it
    volume = stops.wrapper.volume
    assert volume.get_cost() is not stops.costs[-1]
    assert volume.get_cost() is not volume.get_cost()


class _Saved:
    """Bytes of the memory that graphs hold: now and at most."""

    def __init__(self) -> None:
        self.held: Counter[int] = Counter()
        self.now = self.most = 0

    def __enter__(self):
        self.hooks = torch.autograd.graph.saved_tensors_hooks(
            lambda tensor: _Held(self, tensor), lambda held: held.tensor
        )
        self.hooks.__enter__()
        return self

    def __exit__(self, *args):
        self.hooks.__exit__(*args)


class _Held:
    """A saved tensor; several may share their memory."""

    def __init__(self, saved, tensor) -> None:
        self.saved, self.tensor, storage = saved, tensor, tensor.untyped_storage()
        self.place, self.size = storage.data_ptr(), storage.nbytes()
        if isinstance(tensor, nn.Parameter):
            self.size = 0
        if not saved.held[self.place]:
            saved.now += self.size
            saved.most = max(saved.most, saved.now)
        saved.held[self.place] += 1

    def __del__(self) -> None:
        self.saved.held[self.place] -= 1
        if not self.saved.held[self.place]:
            self.saved.now -= self.size


def repeated(n):
    bank = passives()
    return BankedPassives(
        bank.x0.repeat(n, 1, 1, 1), bank.target.repeat(n), bank.state.repeat(n, 1, 1)
    )


@pytest.mark.parametrize("case", ["sums", "quantiles"])
def test_graphs_of_more_volumes_take_no_more_memory(case, monkeypatch):
    monkeypatch.setattr(scans, "CHUNK", 6 * N_MUONS)
    most = {}
    for memory in (0, 1 << 30):
        for n in (1, 2, 4):
            gc.collect()
            with _Saved() as saved:
                gradients(case, memory, bank=repeated(2 * n))
            most[memory, n] = saved.most
    small = 64 * 24  # numbers that the loss of a volume may hold, beside those of its muons
    assert most[0, 4] - most[0, 1] < 36 * small * (20 if case == "sums" else 1)
    assert most[1 << 30, 4] > 3 * most[1 << 30, 1]


@pytest.mark.parametrize("case", ["sums", "quantiles", "sums-tomopt"])
def test_the_graph_of_a_muon_holds_no_more_numbers_than_said(case):
    """From the difference of two exposures, so that grids of volumes do not count."""
    most = []
    for n_muons in (500, 1000):
        with _Saved() as saved:
            gradients(case, 1 << 30, bank=passives(1, n_muons))
        most.append(saved.most)
    per_muon = (most[1] - most[0]) / (3 * 500) / 8
    assert per_muon < scans.NUMBERS_PER_MUON
