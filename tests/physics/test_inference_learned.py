"""A network learns inside the wrapper, together with the detector."""

from functools import partial

import torch
from torch import nn

from tests.unit.inference.fakes import F64, kinked_muons
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel
from tomopt_tasks.inference.learned import MODEL, DeepVolumeInferrer, VolumeNet, attach_model
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.family import ArbVolumeWrapper
from tomopt_tasks.wrapper.scans import BankedPassives

LW = torch.tensor([0.3, 0.3], dtype=F64)
FEATURES = ("total_scatter", "poca")
TARGETS = (0.25, 0.35, 0.45)


class Box:
    lw, z_low, z_high = LW, 0.2, 0.5


def make_volume(seed=0):
    layers = [
        PanelDetectorLayer(
            pos,
            lw=LW,
            z=z,
            size=0.2,
            panels=[
                DetectorPanel(
                    res=1e4, eff=0.9, init_xyz=(0.15, 0.15, z - drop), init_xy_span=(2.0, 2.0)
                ).double()
                for drop in (0.01, 0.1, 0.19)
            ],
        )
        for pos, z in (("above", 0.7), ("below", 0.2))
    ]
    passives = [PassiveLayer(LW, 0.5 - 0.1 * k, 0.1) for k in range(3)]
    volume = Volume(nn.ModuleList([layers[0], *passives, layers[1]]))
    attach_model(volume, VolumeNet(features=FEATURES, width=8, start=0.35, seed=seed))
    return volume


def make_wrapper(volume):
    panels = [p for layer in volume.get_detectors() for p in layer.panels]
    return ArbVolumeWrapper(
        volume,
        opts={
            "net": torch.optim.Adam(getattr(volume, MODEL).parameters(), lr=0.03),
            "z": torch.optim.SGD([p.z for p in panels], lr=1e-3),
        },
        loss_func=VolumeMSELoss(target_budget=None),
        partial_volume_inferrer=partial(DeepVolumeInferrer, features=FEATURES),
    )


def passives():
    """Volumes in which all muons scatter at the height that is the target."""
    states = [
        kinked_muons(200, Box, where=torch.tensor([0.15, 0.15, z], dtype=F64)) for z in TARGETS
    ]
    return BankedPassives(
        x0=torch.full((3, 3, 3, 3), 0.1, dtype=F64),
        target=torch.tensor(TARGETS, dtype=F64),
        state=torch.cat(states),
    )


def predictions(wrapper):
    return [float(pred[0]) for pred, *_ in wrapper.predict(passives(), 200, 200)]


def test_a_fit_trains_the_net_and_moves_the_detector(tmp_path):
    volume = make_volume()
    wrapper = make_wrapper(volume)
    before = volume.get_detectors()[0].panels[0].z.detach().clone()
    wrapper.fit(50, 3, 200, 200, passives(), None, [], tmp_path)
    error = float(wrapper.fit_params.mean_loss.detach())
    assert error < 2e-4  # the best constant has 6.7e-3
    assert not torch.equal(volume.get_detectors()[0].panels[0].z, before)


def test_the_net_is_saved_and_loaded_with_the_wrapper(tmp_path):
    first, second = make_wrapper(make_volume()), make_wrapper(make_volume(seed=1))
    first.fit(3, 3, 200, 200, passives(), None, [], tmp_path)
    first.save(tmp_path / "state.pt")
    assert predictions(first) != predictions(second)
    second.load(tmp_path / "state.pt")
    assert predictions(first) == predictions(second)


def test_the_nets_parameters_are_counted_with_the_detectors():
    volume = make_volume()
    n_net = sum(p.numel() for p in getattr(volume, MODEL).parameters())
    n_panels = 6 * 5  # xy, z, span
    assert make_wrapper(volume).get_param_count() == n_net + n_panels
