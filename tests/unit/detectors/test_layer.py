from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tests.unit.inference.fakes import F64
from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel, stack
from tomopt_tasks.detectors.separation import separate
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume


def panel(z, span=1.0, xy=(0.5, 0.5)):
    return DetectorPanel(res=1e4, eff=0.9, init_xyz=(*xy, z), init_xy_span=(span, span)).double()


def layer(*heights, pos="above", z=1.0):
    lw = torch.tensor([1.0, 1.0], dtype=F64)
    return PanelDetectorLayer(pos, lw=lw, z=z, size=0.2, panels=[panel(h) for h in heights])


def muons(n=20):
    rng = stream(4, "layer")
    rows = torch.rand(n, 5, generator=rng, dtype=F64) * torch.tensor([1, 1, 0, 0.5, 6.28])
    rows[:, 2] = 5.0
    mu = MuonBatch(rows, init_z=1.0)
    mu.rng = rng
    return mu


def test_a_layer_measures_all_panels_and_lets_muons_fly_to_its_bottom():
    made, mu = layer(0.99, 0.9, 0.85), muons()
    straight = mu.copy()
    made(mu)
    straight.propagate_dz(0.2)
    assert_close(mu.xyz, straight.xyz)
    hits = mu.get_hits()["above"]
    assert hits["reco_xyz"].shape == (20, 3, 3)
    assert_close(hits["reco_xyz"][0, :, 2].detach(), torch.tensor([0.99, 0.9, 0.85], dtype=F64))
    assert (hits["reco_xyz"] - hits["gen_xyz"]).abs().max() < 0.1


def test_the_order_of_panels_is_by_height():
    made = layer(0.85, 0.99, 0.9)
    assert made.get_panel_zorder() == [1, 2, 0]
    assert [index for index, _ in made.yield_zordered_panels()] == [1, 2, 0]
    assert made.type_label == "panel"


def test_d45_shares_of_the_budget_belong_to_panels_when_they_cross():
    lw = torch.tensor([1.0, 1.0], dtype=F64)
    above, below = layer(0.99, 0.9), layer(0.2, 0.1, pos="below", z=0.2)
    passive = PassiveLayer(lw, 0.8, 0.1)
    volume = Volume(nn.ModuleList([above, passive, below]), budget=4.0)
    with torch.no_grad():
        volume.budget_weights.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    volume.assign_budget()
    before = [float(p.get_cost().detach()) for p in above.panels]
    with torch.no_grad():
        above.panels[0].z.fill_(0.85)  # now below its neighbour
    volume.assign_budget()
    assert [float(p.get_cost().detach()) for p in above.panels] == pytest.approx(before)
    assert before[0] > before[1]
    assert sum(float(p.get_cost().detach()) for p in [*above.panels, *below.panels]) == (
        pytest.approx(4.0)
    )


def test_cost_is_the_sum_over_panels():
    assert_close(layer(0.99, 0.9).get_cost(), torch.tensor([2.0], dtype=F64))


class Fibres(DetectorPanel):
    """A panel of a user: it pays for channels, and a frame takes a tenth of its width."""

    def get_cost(self):
        return 3 * self.m2_cost * self.get_scaled_xy_span().sum()

    def get_scaled_xy_span(self):
        return 0.9 * super().get_scaled_xy_span()


def test_a_panel_of_ones_own_says_what_it_costs_and_how_wide_it_is():
    made = layer(0.99, 0.9)
    made.panels[1] = Fibres(
        res=1e4, eff=0.9, init_xyz=(0.5, 0.5, 0.9), init_xy_span=(1.0, 1.0)
    ).double()
    assert_close(made.get_cost(), torch.tensor([1.0 + 3 * 1.8], dtype=F64))
    spans = {round(p.z.item(), 2): stack([p]).span[0, 0].item() for p in made.panels}
    assert spans == pytest.approx({0.99: 1.0, 0.9: 0.9})


def test_panels_are_held_in_their_zone_and_apart():
    made = layer(1.5, 1.4, 0.9)
    made.min_separation = 0.05
    made.conform_detector()
    heights = [float(p.z.detach()) for p in made.panels]
    # the first two share the upper face: 1.0 and 0.95, the order is kept
    assert heights == pytest.approx([1.0, 0.95, 0.9])


def test_a_layer_needs_panels():
    with pytest.raises(ValueError, match="no panels"):
        layer()


def test_a_layer_of_heat_maps_measures_like_a_layer_of_panels():
    lw = torch.tensor([1.0, 1.0], dtype=F64)
    maps = [
        DetectorHeatMap(res=1e4, eff=0.9, init_xyz=(0.5, 0.5, z), init_xy_span=(-0.5, 0.5)).double()
        for z in (0.99, 0.9)
    ]
    made = PanelDetectorLayer("above", lw=lw, z=1.0, size=0.2, panels=maps)
    assert made.type_label == "heatmap"
    mu = muons()
    made(mu)
    assert mu.get_hits()["above"]["eff"].shape == (20, 2, 1)
    with torch.no_grad():
        maps[0].z.fill_(5.0)
    made.conform_detector()
    assert float(maps[0].z.detach()) == 1.0


heights = st.lists(st.floats(-1.0, 2.0), min_size=1, max_size=6)


@given(heights, st.floats(0.0, 0.15))
def test_separated_panels_keep_gap_zone_and_order(start, gap):
    placed = separate(start, gap, 0.0, 1.0)
    assert all(-1e-12 <= z <= 1.0 + 1e-12 for z in placed)
    ordered = sorted(placed)
    assert all(b - a >= gap - 1e-12 for a, b in pairwise(ordered))
    for a, za in zip(start, placed, strict=True):
        for b, zb in zip(start, placed, strict=True):
            assert a >= b or za <= zb


@given(heights, st.floats(0.0, 0.15))
def test_heights_that_are_already_apart_stay(start, gap):
    placed = separate(start, gap, 0.0, 1.0)
    assert separate(placed, gap, 0.0, 1.0) == pytest.approx(placed, abs=1e-12)


def test_separation_is_the_nearest_arrangement():
    # two equal heights move apart by half a gap each
    assert separate([0.5, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.45, 0.55])
    assert separate([0.5, 0.5, 0.56], 0.1, 0.0, 1.0) == pytest.approx([0.42, 0.52, 0.62])


def test_panels_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        separate([0.1, 0.2, 0.3], 0.6, 0.0, 1.0)
