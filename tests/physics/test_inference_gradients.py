"""Gradients of the voxel loss equal central differences with common random numbers, in float64."""

import pytest
import torch
from torch import nn

from tests.stats import assert_gradients
from tests.unit.inference.fakes import F64, kinked_muons
from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.hits import Lines
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.voxels import PanelX0Inferrer, TomOptX0, UnbiasedX0
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume

STEP = 1e-6
LW = torch.tensor([0.5, 0.6], dtype=F64)
HEIGHTS = {"above": (0.99, 0.93, 0.86), "below": (0.19, 0.12, 0.04)}
TOPS = {"above": 1.0, "below": 0.2}


def detector(kind, pos, index, z):
    place = {"init_xyz": (0.22 + 0.03 * index, 0.33 - 0.02 * index, z)}
    common = {"res": 1e4, "eff": 0.9, "init_xy_span": (0.6 + 0.05 * index, 0.7)} | place
    if kind == "gauss":
        return DetectorPanel(**common)
    if kind == "sigmoid":
        return SigmoidDetectorPanel(smooth=0.5, **common)
    rng = stream(31, pos, index)
    return DetectorHeatMap(**(common | {"init_xy_span": (-0.4, 0.4)}), n_cluster=3, rng=rng)


def make_volume(kind, budget=None):
    layers = {
        pos: PanelDetectorLayer(
            pos,
            lw=LW,
            z=TOPS[pos],
            size=0.2,
            panels=[detector(kind, pos, k, z).double() for k, z in enumerate(heights)],
        )
        for pos, heights in HEIGHTS.items()
    }
    passives = [PassiveLayer(LW, 0.8 - 0.1 * k, 0.1) for k in range(6)]
    volume = Volume(nn.ModuleList([layers["above"], *passives, layers["below"]]), budget=budget)
    volume.load_rad_length(torch.full((6, 5, 6), 0.1, dtype=F64))
    return volume


def loss_of(volume, method):
    """Loss of a fixed exposure with fixed noise."""
    volume.assign_budget()
    rows = _muons(volume)
    mu = MuonBatch.from_lines(rows[:, 0:2], rows[:, 2:4], rows[:, 8], 0.8)
    lines = {"above": (slice(0, 4), 0.8), "below": (slice(4, 8), 0.2)}
    for layer in volume.get_detectors():
        columns, z = lines[layer.pos]
        true = Lines(rows[:, columns][:, :2], rows[:, columns][:, 2:], z)
        noise = torch.randn(len(rows), 3, 2, generator=stream(31, "hits", layer.pos), dtype=F64)
        mu.record(layer.pos, true, layer.measure(true, noise))
    inferrer = PanelX0Inferrer(volume, method)
    inferrer.add_scatters(ScatterBatch(mu, volume))
    loss = VoxelX0Loss(target_budget=3.0, cost_coef=0.1)
    return loss(inferrer.get_prediction(), volume).sum()


def _muons(volume):
    class Box:
        lw, z_low, z_high = LW, 0.2, 0.8

    return kinked_muons(200, Box).flatten(0, 1)


def by_differences(parameter, function):
    found = torch.zeros_like(parameter)
    with torch.no_grad():
        for index in range(parameter.numel()):
            start = parameter.view(-1)[index].clone()
            values = []
            for step in (-STEP, STEP):
                parameter.view(-1)[index] = start + step
                values.append(function())
            parameter.view(-1)[index] = start
            found.view(-1)[index] = (values[1] - values[0]) / (2 * STEP)
    return found


CASES = [
    ("gauss", ("xy", "z", "xy_span"), UnbiasedX0()),
    ("sigmoid", ("xy", "z", "xy_span"), UnbiasedX0()),
    ("sigmoid", ("xy", "z", "xy_span"), UnbiasedX0(weights="plain", share="voxel")),
    ("gauss", ("z", "xy_span"), TomOptX0()),
    ("heat map", ("mu", "sig", "norm", "z"), UnbiasedX0()),
]


@pytest.mark.parametrize(("kind", "names", "method"), CASES)
def test_d02_d65_gradients_of_every_parameter_equal_differences(kind, names, method):
    volume = make_volume(kind)
    loss_of(volume, method).backward()
    for layer in volume.get_detectors():
        for panel in (layer.panels[0], layer.panels[2]):
            for name in names:
                parameter = getattr(panel, name)
                expected = by_differences(parameter, lambda: loss_of(volume, method))
                assert_gradients(parameter.grad, expected, rtol=2e-4)


@pytest.mark.parametrize("kind", ["gauss", "sigmoid"])
def test_gradients_of_the_shares_of_a_budget_equal_differences(kind):
    volume = make_volume(kind, budget=2.5)
    loss_of(volume, UnbiasedX0()).backward()
    expected = by_differences(volume.budget_weights, lambda: loss_of(volume, UnbiasedX0()))
    assert_gradients(volume.budget_weights.grad, expected, rtol=2e-4)
    assert expected.abs().max() > 1e-6


def test_hard_edges_leave_gradients_of_the_heights_only():
    volume = make_volume("gauss").eval()
    loss_of(volume, UnbiasedX0()).backward()
    panel = volume.get_detectors()[0].panels[0]
    assert torch.isfinite(panel.z.grad).all()
    expected = by_differences(panel.z, lambda: loss_of(volume, UnbiasedX0()))
    assert_gradients(panel.z.grad, expected, rtol=1e-3)
