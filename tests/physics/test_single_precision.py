"""Single precision: gradients as good as double ones for a fit, and no NaN where panels fade."""

import pytest
import torch
from torch import nn

from tests.unit.inference.fakes import F64, FakeVolume, kinked_muons
from tomopt_tasks.detectors.hits import Lines
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume

F32 = torch.float32
N_MUONS = 1000
TOPS = {"above": 1.0, "below": 0.2}
HEIGHTS = {"above": (1.0, 0.95, 0.9, 0.85), "below": (0.2, 0.15, 0.1, 0.05)}
KINDS = {"gauss": DetectorPanel, "sigmoid": SigmoidDetectorPanel}


def small(dtype, kind="gauss", span=1.0, xy=(0.25, 0.25)):
    """The first volume of TomOpt's tutorial: off-centre panels about lead in beryllium."""
    lw = torch.tensor([1.0, 1.0], dtype=F64)
    more = {"smooth": 0.1} if kind == "sigmoid" else {}
    zones = {}
    for pos, heights in HEIGHTS.items():
        place = {"res": 1e4, "eff": 0.9, "init_xy_span": (span, span)} | more
        panels = [KINDS[kind](init_xyz=(*xy, z), **place).double() for z in heights]
        zones[pos] = PanelDetectorLayer(pos, lw=lw, z=TOPS[pos], size=0.2, panels=panels)
    passives = [PassiveLayer(lw, 0.8 - 0.1 * k, 0.1) for k in range(6)]
    volume = Volume(nn.ModuleList([zones["above"], *passives, zones["below"]])).to(dtype)
    x0 = torch.full((6, 10, 10), 0.3528, dtype=dtype)
    x0[2, 5:, 5:] = 0.005612
    volume.load_rad_length(x0)
    return volume


def gradients(dtype, inferrer, **where):
    """Gradients of all parameters for one exposure, the same muons and noise at any precision."""
    volume = small(dtype, **where)
    rows = kinked_muons(N_MUONS, FakeVolume(), width=0.005).flatten(0, 1).to(dtype)
    mu = MuonBatch.from_lines(rows[:, 0:2], rows[:, 2:4], rows[:, 8], 0.8)
    lines = {"above": Lines(rows[:, 0:2], rows[:, 2:4], 0.8)}
    lines["below"] = Lines(rows[:, 4:6], rows[:, 6:8], 0.2)
    for layer in volume.get_detectors():
        noise = torch.randn(N_MUONS, 4, 2, generator=stream(7, layer.pos), dtype=F64).to(dtype)
        mu.record(layer.pos, lines[layer.pos], layer.measure(lines[layer.pos], noise))
    found = inferrer(volume)
    found.add_scatters(ScatterBatch(mu, volume))
    prediction = found.get_prediction()
    if isinstance(found, PanelX0Inferrer):
        prediction = VoxelX0Loss(target_budget=20)(prediction, volume)
    assert prediction.dtype == dtype
    prediction.sum().backward()
    gradient = {n: p.grad for n, p in volume.named_parameters() if p.grad is not None}
    assert len(gradient) == 24
    return gradient


@pytest.mark.parametrize("inferrer", [PanelX0Inferrer, PocaZLadleFurnaceFillLevelInferrer])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_in_single_precision_are_within_a_thousandth(inferrer, kind):
    """Of the whole gradient of each kind of parameter; 2 % was asked for, TomOpt errs by 17 %."""
    single, double = gradients(F32, inferrer, kind=kind), gradients(F64, inferrer, kind=kind)
    for parameter in ("xy", "z", "xy_span"):
        names = [name for name in double if name.endswith(f".{parameter}")]
        exact = torch.cat([double[name] for name in names])
        error = torch.cat([single[name].double() for name in names]) - exact
        assert float(exact.norm()) > 0
        assert float(error.norm() / exact.norm()) < 1e-3, parameter


@pytest.mark.parametrize("inferrer", [PanelX0Inferrer, PocaZLadleFurnaceFillLevelInferrer])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("span", "xy"), [(0.15, (0.5, 0.5)), (0.2, (0.0, 0.0)), (0.3, (0.1, 0.9))])
def test_gradients_stay_finite_where_panels_fade(inferrer, kind, span, xy):
    """Responses down to their floor of 1e-10 an axis: single precision cannot hold its square."""
    for dtype in (F32, F64):
        found = gradients(dtype, inferrer, kind=kind, span=span, xy=xy)
        for name, gradient in found.items():
            assert torch.isfinite(gradient).all(), (dtype, name)
