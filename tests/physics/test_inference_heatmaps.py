"""A heat-map detector is optimised, saved and loaded like panels are."""

from functools import partial

import pytest
import torch
from torch import nn

from tests.unit.inference.fakes import F64, kinked_muons
from tomopt_tasks.callbacks.gradients import NoMoreNaNs
from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.family import HeatMapVolumeWrapper
from tomopt_tasks.wrapper.scans import BankedPassives

LW = torch.tensor([0.4, 0.4], dtype=F64)


class Box:
    lw, z_low, z_high = LW, 0.2, 0.5


def make_wrapper(seed=0):
    def heat_map(pos, z):
        rng = stream(seed, "map", pos, int(100 * z))
        return DetectorHeatMap(
            res=1e4, eff=0.9, init_xyz=(0.2, 0.2, z), init_xy_span=(-0.5, 0.5), n_cluster=4, rng=rng
        ).double()

    above, below = (
        PanelDetectorLayer(
            pos, lw=LW, z=z, size=0.2, panels=[heat_map(pos, z - d) for d in (0.02, 0.1, 0.18)]
        )
        for pos, z in (("above", 0.7), ("below", 0.2))
    )
    passives = [PassiveLayer(LW, 0.5 - 0.1 * k, 0.1) for k in range(3)]
    rates = {"mu_opt": 0.01, "norm_opt": 0.01, "sig_opt": 0.01, "z_pos_opt": 1e-3}
    opts = {name: partial(torch.optim.Adam, lr=rate) for name, rate in rates.items()}
    volume = Volume(nn.ModuleList([above, *passives, below]))
    return HeatMapVolumeWrapper(volume, loss_func=VoxelX0Loss(target_budget=None), **opts)


def passives():
    return BankedPassives(
        x0=torch.full((2, 3, 4, 4), 0.02, dtype=F64),
        target=torch.zeros(2, dtype=F64),
        state=kinked_muons(200, Box, n_volumes=2),
    )


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    wrapper = make_wrapper()
    before = {name: p.detach().clone() for name, p in wrapper.volume.named_parameters()}
    wrapper.fit(5, 2, 200, 200, passives(), None, [NoMoreNaNs()], tmp_path_factory.mktemp("fit"))
    return wrapper, before


def test_a_fit_moves_every_kind_of_parameter(fitted):
    wrapper, before = fitted
    for name, parameter in wrapper.volume.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert not torch.equal(parameter, before[name]), name


def test_a_saved_heat_map_predicts_the_same(fitted, tmp_path):
    wrapper, _ = fitted
    wrapper.save(tmp_path / "maps.pt")
    twin = make_wrapper(seed=1)
    twin.load(tmp_path / "maps.pt")
    first, second = (w.predict(passives(), 200, 200) for w in (wrapper, twin))
    for (one, _), (other, _) in zip(first, second, strict=True):
        assert (one == other).all()
