import numpy as np
import pytest

from tests.unit.evaluation.samples import draws
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.merit import figures_of_merit, stratified_se, target_groups


def test_small_case_worked_by_hand():
    # target 1: errors 0, 2 -> mean 1, s2 = 2; target 3: errors -1, -1 -> mean -1, s2 = 0
    merit = figures_of_merit(np.array([1.0, 3.0, 2.0, 2.0]), np.array([1.0, 1.0, 3.0, 3.0]))
    assert merit.mse == pytest.approx(6 / 4)
    assert merit.mae == pytest.approx(4 / 4)
    assert merit.rmse == pytest.approx(np.sqrt(1.5))
    # bias2: (1 - 2/2 + 1 - 0) / 2, variance: (2 + 0) / 2
    assert merit.bias2 == pytest.approx(0.5)
    assert merit.variance == pytest.approx(1.0)
    # squares 0, 4 (s2 = 8) and 1, 1 (s2 = 0): se = sqrt(2 * 8) / 4
    assert merit.mse_se == pytest.approx(1.0)
    assert merit.rmse_se == pytest.approx(1.0 / (2 * np.sqrt(1.5)))
    first, second = merit.per_target
    assert (first.target, first.n, first.mean, first.mse) == (1.0, 2, 2.0, 2.0)
    assert first.std == pytest.approx(np.sqrt(2))
    assert second.mse_se == 0.0


def test_bias_and_variance_add_up_to_the_error():
    noise = draws("decomposition", 60)
    truth = np.repeat([0.6, 0.8, 1.0], 20)
    merit = figures_of_merit(truth + 0.03 * noise + 0.01, truth)
    assert merit.bias2 + merit.variance == pytest.approx(merit.mse, rel=1e-12)


def test_unbiased_predictions_have_no_bias_on_average_and_the_planted_one_is_found():
    truth = np.repeat([0.6, 0.8, 1.0, 1.2], 5)
    sign = np.where(truth < 0.9, 1.0, -1.0)
    for bias in (0.0, 0.02):
        noise = draws(f"bias {bias}", 400, 20)
        found = [figures_of_merit(truth + bias * sign + 0.03 * row, truth).bias2 for row in noise]
        se = np.std(found) / np.sqrt(400)
        assert abs(np.mean(found) - bias**2) < 5 * se


def test_standard_error_is_the_spread_of_repeated_experiments():
    truth = np.repeat([0.6, 0.8, 1.0, 1.2], 25)
    scale = np.where(truth < 0.9, 0.02, 0.05)
    merits = [figures_of_merit(truth + scale * row, truth) for row in draws("se", 800, 100)]
    spread = np.std([merit.mse for merit in merits], ddof=1)
    # standard deviation of 800 draws is known to 1 / sqrt(1600) = 2.5 %
    assert np.mean([merit.mse_se for merit in merits]) == pytest.approx(spread, rel=0.13)
    rmse = np.std([merit.rmse for merit in merits], ddof=1)
    assert np.mean([merit.rmse_se for merit in merits]) == pytest.approx(rmse, rel=0.13)


def test_stratified_standard_error_ignores_differences_between_targets():
    values = np.repeat([1.0, 5.0], 10)
    assert stratified_se(values, np.repeat([0, 1], 10)) == 0.0


def test_equal_targets_form_a_group_in_any_order_and_up_to_rounding():
    truth = np.array([0.1 + 0.2, 0.6, 0.3, 0.6])
    np.testing.assert_array_equal(target_groups(truth), [0, 1, 0, 1])


def test_one_target_for_all_is_one_group():
    np.testing.assert_array_equal(target_groups(np.full(3, 0.7)), [0, 0, 0])


def test_targets_that_never_repeat_are_binned_with_at_least_two_volumes_each():
    truth = np.linspace(1.3, 0.6, 37)
    groups = target_groups(truth)
    assert np.bincount(groups).min() >= 2
    assert groups.max() == 9
    assert (np.diff(groups) <= 0).all()


def test_perfect_predictions_have_no_error_and_no_nan():
    merit = figures_of_merit(np.ones(4), np.ones(4))
    assert (merit.mse, merit.rmse, merit.rmse_se, merit.mae) == (0.0, 0.0, 0.0, 0.0)


def test_a_single_volume_has_no_standard_deviation():
    (row,) = figures_of_merit(np.array([1.0]), np.array([3.0])).per_target
    assert row.std is None
    assert row.mse_se is None


def test_missing_predictions_are_not_averaged_away():
    with pytest.raises(ValueError, match="calibrate"):
        figures_of_merit(np.array([1.0, np.nan]), np.array([1.0, 1.0]))


def test_no_volumes_are_refused():
    with pytest.raises(UserError, match="0 volumes"):
        target_groups(np.array([]))
