"""Laws of panels: shapes, equal streams, gradients, precision, device."""

import pytest
import torch

from tests.laws.parts import F64, PANELS, kinks, make_volume, members, slope_along, weighted
from tomopt_tasks.detectors.panel import DetectorPanel
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream


def hits_of(volume, dtype=F64, seed=31, device="cpu"):
    """Hits of one panel for a batch of muons."""
    panel = volume.get_detectors()[0].panels[0]
    lines, _, momentum = kinks()
    parts = [part.to(device, dtype) for part in (lines.offset, lines.slope, momentum)]
    mu = MuonBatch.from_lines(*parts, lines.z)
    mu.rng = stream(seed, "hits", device=device)
    return panel.get_hits(mu)


def test_every_panel_is_tried():
    assert members(torch.nn.Module, "tomopt_tasks.detectors") >= {"DetectorHeatMap"}
    assert {"DetectorPanel", *members(DetectorPanel, "tomopt_tasks"), "DetectorHeatMap"} == set(
        PANELS
    )


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_hits_have_their_shapes_and_precision(panel, dtype):
    hits = hits_of(make_volume(panel, dtype=dtype), dtype)
    shapes = {name: tuple(hit.shape) for name, hit in hits.items()}
    assert shapes == dict.fromkeys(("reco_xyz", "gen_xyz", "unc_xyz"), (60, 3)) | {"eff": (60, 1)}
    assert all(hit.dtype == dtype and torch.isfinite(hit).all() for hit in hits.values())
    assert (hits["eff"] >= 0).all()
    assert (hits["eff"] <= 1).all()


@pytest.mark.parametrize("panel", PANELS)
def test_single_precision_measures_the_same(panel):
    single = hits_of(make_volume(panel, dtype=torch.float32), torch.float32)
    double = hits_of(make_volume(panel))
    for name in ("gen_xyz", "unc_xyz", "eff"):  # reco_xyz has noise of another precision
        torch.testing.assert_close(single[name].double(), double[name], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("panel", PANELS)
def test_equal_streams_make_equal_hits(panel):
    one, two, other = (hits_of(make_volume(panel), seed=seed) for seed in (31, 31, 32))
    assert torch.equal(one["reco_xyz"], two["reco_xyz"])
    assert not torch.equal(one["reco_xyz"], other["reco_xyz"])


@pytest.mark.parametrize("panel", PANELS)
def test_gradients_of_hits_equal_differences(panel):
    volume = make_volume(panel)

    def total():
        hits = hits_of(volume)
        return weighted(hits["reco_xyz"]) + weighted(hits["eff"]) + weighted(hits["unc_xyz"] * 1e3)

    parameters = list(volume.get_detectors()[0].panels[0].parameters())
    found, expected = slope_along(total, parameters, 1e-6)
    assert expected != 0
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("panel", PANELS)
def test_a_gpu_measures_the_same(panel):
    here = hits_of(make_volume(panel))
    there = hits_of(make_volume(panel).to("cuda"), device="cuda")
    for name in ("gen_xyz", "unc_xyz", "eff"):
        torch.testing.assert_close(there[name].cpu(), here[name])
