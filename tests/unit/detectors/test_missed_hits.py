"""Panels that miss hits at random: how often, which ones, and what is made of the others."""

from dataclasses import replace

import pytest
import torch

from tests.stats import assert_mean
from tests.unit.inference.fakes import panel_stack
from tomopt_tasks.config.load import load_detector
from tomopt_tasks.detectors.hits import Lines, measure
from tomopt_tasks.inference.acceptance import acceptance
from tomopt_tasks.reports.export import detector_yaml
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.settings import World
from tomopt_tasks.wrapper.build import build_volume
from tomopt_tasks.wrapper.observers import geometry

N = 20_000
HEIGHTS = (1.75, 1.65, 1.55, 1.45)


def lines(n=N):
    """Muons over a square that is a little wider than the panels."""
    rng = stream(3, "lines")
    offset = torch.rand((n, 2), generator=rng, dtype=torch.float64)
    return Lines(offset=offset, slope=torch.zeros_like(offset), z=1.4)


def hits(missed=(True,) * 4, *, hard=True, efficiency=0.9, n=N):
    panels = panel_stack(HEIGHTS, span=0.8, eff=efficiency, smooth=None if hard else 0.1)
    panels = replace(panels, missed=torch.tensor(missed))
    rng = stream(4, "noise")
    noise = torch.randn((n, 4, 2), generator=rng, dtype=torch.float64)
    luck = torch.randn((n, 4), generator=rng, dtype=torch.float64)
    return measure(lines(n), panels, noise, hard=hard, luck=luck)


def test_hits_inside_are_there_with_the_efficiency_of_the_panel():
    every = hits((False,) * 4).present
    seen = hits().present
    assert not (seen & ~every).any()
    for panel in range(4):
        assert_mean(seen[every[:, panel], panel].double(), 0.9)


def test_missing_one_panel_says_nothing_about_another():
    inside = hits((False,) * 4).present.all(1)
    seen = hits().present[inside].double()
    assert_mean(seen[:, 0] * seen[:, 1], 0.81)


def test_a_hit_that_is_there_counts_in_full_and_a_missed_one_not_at_all():
    found = hits()
    assert set(found.efficiency.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(found.efficiency == 1, found.present)
    assert (found.residual[~found.present] == 0).all()


def test_only_the_panels_that_say_so_miss_hits():
    mixed, every = hits((True, False, True, False)), hits((False,) * 4)
    assert torch.equal(mixed.present[:, [1, 3]], every.present[:, [1, 3]])
    assert mixed.efficiency[:, 1].max() == 0.9
    assert (mixed.present.sum(0) < every.present.sum(0)).tolist() == [True, False, True, False]


def test_a_perfect_panel_misses_nothing():
    assert torch.equal(hits(efficiency=1.0).present, hits((False,) * 4).present)


@pytest.mark.parametrize("policy", ["two_each_side", "all_panels"])
def test_the_mean_number_accepted_is_the_sum_of_the_weights(policy):
    """The weight of a muon is the chance that it is accepted, so both count alike."""
    by_chance = hits()
    by_weight = hits((False,) * 4)
    chance, weight = (
        acceptance(found.efficiency, torch.ones_like(found.efficiency), policy)
        for found in (by_chance, by_weight)
    )
    assert_mean(chance - weight, 0.0)
    assert weight.mean() > 0.2


def test_soft_edges_keep_their_response_where_the_hit_is_there():
    soft, plain = hits(hard=False), hits((False,) * 4, hard=False)
    there = soft.present
    torch.testing.assert_close(soft.efficiency[there], plain.efficiency[there] / 0.9)
    assert (soft.efficiency[~there] == 0).all()


def test_a_detector_keeps_the_trait_through_its_file(tmp_path):
    text = "version: 1\npanel: {missed_hits: true}\ngroups:\n"
    text += "  above: {z: [1.7, 1.5], xy: [0.5, 0.5], side: 1.0}\n"
    text += "  below: {z: [0.3, 0.1], xy: [0.5, 0.5], side: 1.0}\n"
    file = tmp_path / "first.yaml"
    file.write_text(text)
    first = load_detector(file, World())
    assert all(panel.missed_hits for panel in first.panels)
    again = tmp_path / "again.yaml"
    again.write_text(detector_yaml(geometry(build_volume(World(), first))))
    assert all(panel.missed_hits for panel in load_detector(again, World()).panels)
