"""D-33: everything is made where its inputs live, never on the default device.

The default device is set to ``meta``, whose tensors hold no numbers: whatever is made there by
mistake cannot be combined with the inputs on the CPU.
"""

from functools import partial

import pytest
import torch

from tests.unit.inference.fakes import (
    ABOVE,
    BELOW,
    F64,
    FakeMuons,
    FakeVolume,
    kinked_muons,
    panel_stack,
    side,
)
from tomopt_tasks.inference.classifiers import DenseBlockClassifierFromX0s
from tomopt_tasks.inference.edges import EdgeDetLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.generator_level import GenScatterBatch
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.learned import DeepVolumeInferrer, VolumeNet
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.variables import VARIABLES
from tomopt_tasks.inference.voxels import PanelX0Inferrer, TomOptX0, UnbiasedX0
from tomopt_tasks.losses.integers import integer_class_loss
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelClassLoss, VoxelX0Loss

VOLUME = FakeVolume(
    rad_cube=torch.full((6, 10, 10), 0.1, dtype=F64), target=torch.tensor([0.5], dtype=F64)
)
Z_RANGE = VOLUME.get_passive_z_range()
NET = VolumeNet().double()

INFERRERS = [
    partial(PanelX0Inferrer, method=UnbiasedX0()),
    partial(PanelX0Inferrer, method=UnbiasedX0(share="voxel")),
    partial(PanelX0Inferrer, method=TomOptX0()),
    partial(PocaZLadleFurnaceFillLevelInferrer, smooth=1.0),
    partial(DenseBlockClassifierFromX0s, 12, PanelX0Inferrer),
    partial(EdgeDetLadleFurnaceFillLevelInferrer, PanelX0Inferrer),
    partial(DeepVolumeInferrer, model=NET),
]


@pytest.fixture
def muons(monkeypatch):
    monkeypatch.setattr(FakeVolume, "get_passive_z_range", lambda self: Z_RANGE)
    state = kinked_muons(30, VOLUME)
    above = side(state, slice(0, 4), VOLUME.z_high, panel_stack(ABOVE), ("a",), hard=False)
    below = side(state, slice(4, 8), VOLUME.z_low, panel_stack(BELOW), ("b",), hard=False)
    above.hits.sigma.requires_grad_()
    return FakeMuons({"above": above, "below": below}, state[0, :, 8])


@pytest.mark.parametrize("kind", [ScatterBatch, GenScatterBatch])
def test_d33_scatters_are_made_where_the_hits_are(muons, kind):
    with torch.device("meta"):
        batch = kind(muons, VOLUME)
        for name in (*VARIABLES, *(f"{v}_unc" for v in VARIABLES), "reco_hits", "track_in"):
            assert getattr(batch, name).device.type == "cpu", name


@pytest.mark.parametrize("make", INFERRERS)
def test_d33_predictions_and_gradients_are_made_where_the_hits_are(muons, make):
    with torch.device("meta"):
        inferrer = make(volume=VOLUME)
        inferrer.add_scatters(ScatterBatch(muons, VOLUME))
        found = inferrer.get_prediction()
        assert found.device.type == "cpu"
        found.sum().backward()


def test_d33_losses_are_made_where_the_predictions_are():
    with torch.device("meta"):
        x0_loss, class_loss = (
            VoxelX0Loss(target_budget=2.0),
            VoxelClassLoss(x02id={0.1: 1, 0.3: 0}, target_budget=None),
        )
        x0_loss, class_loss = x0_loss.to_empty(device="cpu"), class_loss.to_empty(device="cpu")
        x0_loss.cost_coef, class_loss.cost_coef = None, None
        assert x0_loss(VOLUME.rad_cube + 0.1, VOLUME).device.type == "cpu"
        log_probs = torch.full((1, 2, 600), -0.7, dtype=F64, device="cpu")
        assert class_loss(log_probs, VOLUME).device.type == "cpu"
        mse = VolumeMSELoss(target_budget=None)
        assert mse(VOLUME.target + 1.0, VOLUME).device.type == "cpu"
        probs = torch.full((2, 4), 0.25, dtype=F64, device="cpu")
        targets = torch.tensor([0, 3], device="cpu")
        assert integer_class_loss(probs, targets, 0, True).device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("make", INFERRERS[:4])
def test_d33_a_gpu_gives_the_same_predictions(muons, make):
    found = []
    for device in ("cpu", "cuda"):
        volume = FakeVolume(lw=VOLUME.lw.to(device))
        batch = ScatterBatch(_on(muons, device), volume)
        inferrer = make(volume=volume)
        inferrer.add_scatters(batch)
        found.append(inferrer.get_prediction().detach().cpu())
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)


def _on(muons, device):
    def move(record):
        values = (getattr(record, name) for name in record.__slots__)
        return type(record)(*(v.to(device) if torch.is_tensor(v) else v for v in values))

    records = {k: type(r)(move(r.lines), move(r.hits)) for k, r in muons.records.items()}
    return FakeMuons(records, muons.reco_mom.to(device))
