"""The published computation gives the published ladle table, and each of its errors shows."""

import math

import numpy as np
import pytest

from tests.benchmarks.published import (
    AS_PUBLISHED,
    BOTH,
    ERRORS,
    PUBLISHED,
    RERUN,
    RIGHT_FLUX,
    TRUE_LABEL,
    Figures,
    Variant,
    agreement,
    effect,
    measure,
)

RERUN_ERROR = 0.2
"""Relative error of one number of the independent run, from 48 ladles."""
CENTRED = ("stage_2", "baseline_1", "baseline_2")


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[Variant, Figures]:
    store = tmp_path_factory.mktemp("parity") / "store"
    return {variant: measure(store, variant, (1, 2, 3)) for variant in ERRORS}


@pytest.mark.slow
@pytest.mark.parametrize("variant", ERRORS, ids=lambda variant: variant.name)
def test_every_design_has_the_error_of_the_independent_run(variant, found):
    """Each alone, and their mean: there their errors average out, ours come from common muons."""
    logs, errors = [], []
    for name, theirs in RERUN[variant.name].items():
        ours = agreement(found[variant].half[name], theirs)
        error = math.hypot(ours.error, RERUN_ERROR * ours.theirs / math.sqrt(len(theirs)))
        assert abs(ours.mean - ours.theirs) <= 2 * error, name
        logs.append(math.log(ours.ratio))
        errors.append(ours.error / ours.mean)
    error = math.hypot(RERUN_ERROR / math.sqrt(len(logs)), float(np.mean(errors)))
    assert abs(np.mean(logs)) <= 2 * error


@pytest.mark.slow
def test_each_published_error_is_one_exposure_of_ours(found):
    for name, theirs in PUBLISHED[AS_PUBLISHED.name].items():
        ours = agreement(found[AS_PUBLISHED].mse[name], [theirs])
        assert abs(ours.mean - theirs) <= 2 * math.hypot(ours.error, 0.15 * ours.mean), name


@pytest.mark.slow
@pytest.mark.parametrize("name", CENTRED)
def test_the_wrong_label_doubles_the_error_of_a_good_design(name, found):
    """So that the wrong variant does not pass for the right one in the test above."""
    for right, wrong in ((TRUE_LABEL, AS_PUBLISHED), (BOTH, RIGHT_FLUX)):
        ratio, error = effect(found[right].mse[name], found[wrong].mse[name])
        assert ratio + 2 * error < 0.8
    ratio, error = effect(found[TRUE_LABEL].mse[name], found[AS_PUBLISHED].mse[name])
    theirs = RERUN[TRUE_LABEL.name][name][0] / RERUN[AS_PUBLISHED.name][name][0]
    assert ratio == pytest.approx(theirs, rel=0.2)  # their muons are the same: errors cancel


@pytest.mark.slow
@pytest.mark.parametrize("name", CENTRED)
def test_the_wrong_flux_flatters_a_good_design(name, found):
    for right, wrong in ((BOTH, TRUE_LABEL), (RIGHT_FLUX, AS_PUBLISHED)):
        assert effect(found[right].mse[name], found[wrong].mse[name])[0] > 1.1


def test_an_agreement_counts_the_errors_of_both_sides():
    # mean 3, two seeds with means 2 and 4: error 2 / sqrt(2) / sqrt(2) = 1; spread sqrt(6 / 3)
    ours = agreement(np.array([[1.5, 2.5], [3.5, 4.5]]), [1.0, 2.0])
    assert (ours.mean, ours.theirs, ours.ratio) == (3.0, 1.5, 2.0)
    assert ours.error == pytest.approx(1.0)
    spread = math.sqrt((1.5**2 + 0.5**2 + 0.5**2 + 1.5**2) / 3)
    assert ours.spread == pytest.approx(spread)
    assert ours.pull == pytest.approx(1.5 / math.sqrt(1 + spread**2 / 2))


def test_an_effect_is_paired_over_seeds():
    before = np.array([[1.0], [2.0], [4.0]])
    assert effect(3 * before, before) == (pytest.approx(3.0), pytest.approx(0.0, abs=1e-12))
    assert effect(before**2, before)[1] > 0.5
