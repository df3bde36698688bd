"""A fit taken apart after an epoch."""

import pytest

from tests.unit.wrapper.common import WORLD, detector, passives
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.losses.settings import ExpectedMSELossSettings
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree, restore_volume
from tomopt_tasks.wrapper.observers import geometry
from tomopt_tasks.wrapper.optimiser_settings import AdamSettings
from tomopt_tasks.wrapper.settings import FitSettings, Phase

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
