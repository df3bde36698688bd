import numpy as np
import pytest

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.calibration import fit_calibration


def test_exact_line_is_recovered_and_applied():
    raw = np.array([0.2, 0.5, 0.9, 1.4])
    calibration = fit_calibration(raw, 3.0 * raw - 1.25)
    assert calibration.slope == pytest.approx(3.0, abs=1e-12)
    assert calibration.intercept == pytest.approx(-1.25, abs=1e-12)
    np.testing.assert_allclose(calibration(np.array([10.0])), [28.75])


def test_noisy_line_matches_the_closed_form():
    # x = 0, 1, 2; y = 0, 1, 5: slope = 5/2, intercept = 2 - 5/2
    calibration = fit_calibration(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 5.0]))
    assert calibration.slope == pytest.approx(2.5)
    assert calibration.intercept == pytest.approx(-0.5)


def test_no_other_line_has_a_smaller_error_on_the_calibration_bank():
    raw = np.array([0.1, 0.4, 0.35, 0.8, 0.7])
    truth = np.array([0.6, 0.8, 0.9, 1.3, 1.1])
    best = fit_calibration(raw, truth)
    error = np.sum((best(raw) - truth) ** 2)
    for d_slope, d_intercept in ((1e-3, 0), (-1e-3, 0), (0, 1e-3), (0, -1e-3)):
        line = (best.slope + d_slope) * raw + best.intercept + d_intercept
        assert np.sum((line - truth) ** 2) > error


def test_large_common_offset_does_not_spoil_the_slope():
    raw = 1e6 + np.array([0.0, 1.0, 2.0, 3.0])
    assert fit_calibration(raw, 2.0 * raw).slope == pytest.approx(2.0, rel=1e-9)


@pytest.mark.parametrize("raw", [[0.7, 0.7, 0.7], [np.nan, 0.7, np.nan], [np.nan] * 3])
def test_predictions_without_information_give_the_mean_truth(raw):
    calibration = fit_calibration(np.array(raw), np.array([0.6, 0.9, 1.2]))
    assert calibration.slope == 0.0
    np.testing.assert_allclose(calibration(np.array([0.1, np.nan, 5.0])), [0.9, 0.9, 0.9])


def test_equal_predictions_up_to_rounding_count_as_equal():
    raw = 0.7 + np.array([0.0, 1.0, -1.0]) * np.finfo(np.float64).eps
    assert fit_calibration(raw, np.array([0.6, 0.9, 1.2])).slope == 0.0


def test_volumes_without_a_prediction_are_left_out_of_the_fit_and_scored_as_the_mean():
    raw = np.array([1.0, 2.0, np.nan])
    calibration = fit_calibration(raw, np.array([1.0, 2.0, 6.0]))
    np.testing.assert_allclose(calibration(raw), [1.0, 2.0, 3.0])


def test_no_correction_leaves_predictions_as_they_are_but_still_fills_gaps():
    calibration = fit_calibration(np.array([5.0, 7.0]), np.array([1.0, 3.0]), "none")
    np.testing.assert_array_equal(calibration(np.array([5.0, np.nan])), [5.0, 2.0])


@pytest.mark.parametrize(("raw", "truth"), [([], []), ([1.0], [np.nan])])
def test_a_bank_that_cannot_calibrate_is_refused(raw, truth):
    with pytest.raises(UserError, match="calibration"):
        fit_calibration(np.array(raw), np.array(truth))
