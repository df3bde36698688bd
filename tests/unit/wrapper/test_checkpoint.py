"""A fit taken apart after an epoch."""

from itertools import pairwise
from math import isfinite

import pytest

from tests.unit.wrapper.common import WORLD, detector, passives
from tomopt_tasks.config.starts import random_start
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.losses.settings import ExpectedMSELossSettings
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree, restore_volume
from tomopt_tasks.wrapper.observers import geometry
from tomopt_tasks.wrapper.optimiser_settings import AdamSettings
from tomopt_tasks.wrapper.settings import FitSettings, Phase

WILD = {"xy": 0.7, "z": 0.3, "side": 3.0}
"""Steps far beyond what a fit takes: m, m, logarithm of the share of the area."""
ADAM = {name: AdamSettings(rate=0.05) for name in ("xy", "z", "side")}


def test_the_row_of_an_epoch_shows_the_panels_that_its_checkpoint_restores():
    tree = first_tree(WORLD, detector())
    fit = FitSettings(phases=(Phase(optimiser=ADAM, volumes_per_step=3),))
    epoch = PhaseFit(tree, fit.phases[0], PocaZFillLevelSettings(), ExpectedMSELossSettings(), 1)
    epoch.run(passives(), 0, 3, new=True)
    after = epoch.tree()
    restored = geometry(restore_volume(after))
    for shown, real in zip(after["row"]["geometry"], restored, strict=True):
        assert shown["span"] == pytest.approx(real["span"], rel=1e-12)
    assert restored[0]["span"] != tree["row"]["geometry"][0]["span"]


def test_the_slope_of_the_budget_is_that_of_the_loss():
    def epoch(budget):
        start, size = detector(budget), len(passives())  # one update: all see the same detector
        phase = FitSettings(phases=(Phase(optimiser=ADAM, volumes_per_step=size),)).phases[0]
        fit = PhaseFit(
            first_tree(WORLD, start), phase, PocaZFillLevelSettings(), ExpectedMSELossSettings(), 1
        )
        fit.run(passives(), 0, size, new=True)
        return fit.tree()["row"]

    here, more, less = epoch(6.0), epoch(6.0 + 1e-4), epoch(6.0 - 1e-4)
    slope = (more["loss"] - less["loss"]) / 2e-4
    assert here["budget_slope"] == pytest.approx(slope, rel=1e-3)
    assert len(here["height_slopes"]) == 8
    assert len({abs(value) for value in here["height_slopes"]}) == 8


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_no_step_however_large_takes_a_design_out_of_its_limits(number):
    gap, wild = 0.01, {name: AdamSettings(rate=rate) for name, rate in WILD.items()}
    start = random_start(detector(), WORLD, gap, 1, number).model_copy(update={"gap": gap})
    phase = FitSettings(phases=(Phase(optimiser=wild, volumes_per_step=2),)).phases[0]
    tree, seen = first_tree(WORLD, start), []
    for epoch in range(3):
        fit = PhaseFit(tree, phase, PocaZFillLevelSettings(), ExpectedMSELossSettings(), 1)
        fit.run(passives(), epoch, 2, new=epoch == 0)
        tree = fit.tree()
        panels = geometry(restore_volume(tree))
        assert sum(panel["area"] for panel in panels) == pytest.approx(6.0, rel=1e-12)
        for pos, (low, high) in {"above": (1.4, 1.8), "below": (0.0, 0.4)}.items():
            z = sorted(panel["z"] for panel in panels if panel["pos"] == pos)
            assert low - 1e-12 <= z[0]
            assert z[-1] <= high + 1e-12
            assert all(b - a >= gap - 1e-12 for a, b in pairwise(z))
            seen += [low == z[0], z[-1] == high]
        assert all(0 <= x <= 1 for panel in panels for x in panel["xy"])
        loss = tree["row"]["loss"]  # of a design that sees nothing there is none, and it is said
        assert tree["row"]["skipped_volumes"] > 0 if loss is None else isfinite(loss)
    assert any(seen)  # some limit was reached, so that this test sees them hold
