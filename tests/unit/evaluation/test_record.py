import json
from dataclasses import replace

import numpy as np
import pytest

from tests.unit.evaluation.samples import HEIGHTS, draws, predictions
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation import EvaluationSettings, Predictions, evaluate, seconds_to_reach

TREE_KEYS = {
    "mse", "mse_se", "rmse", "rmse_se", "mae", "bias2", "variance", "budget_used", "calibration",
    "raw_mse", "per_target", "waterfall", "geometry", "exposure",
}  # fmt: skip


def banks(sigmas, *, slope=0.5):
    """Calibration and test predictions of designs with given noise."""
    return tuple(
        {
            name: predictions(draws(f"{bank} {name}", HEIGHTS.size), sigma=sigma, slope=slope)
            for name, sigma in sigmas.items()
        }
        for bank in ("valid", "test")
    )


def score(sigmas, baselines=("baseline_1", "baseline_2"), **scoring):
    return evaluate(*banks(sigmas), EvaluationSettings(bootstrap=500, **scoring), baselines, seed=1)


FOUR = {"start": 0.2, "fit": 0.02, "baseline_1": 0.035, "baseline_2": 0.03}


def test_record_has_the_agreed_shape_and_is_json():
    record = score(FOUR)
    assert record == json.loads(json.dumps(record, allow_nan=False))
    assert set(record) == {"reference", "baselines", "designs", "paired"}
    assert list(record["designs"]) == list(FOUR)
    for design in record["designs"].values():
        assert set(design) >= TREE_KEYS
        assert set(design["per_target"][0]) == {"target", "n", "mean", "std", "mse", "mse_se"}
        assert design["waterfall"] == {
            "generated": 200_000, "aimed": 80_000, "accepted": 24_000, "used": 23_200,
        }  # fmt: skip
    for pair in record["paired"].values():
        assert set(pair) >= {"ratio", "low", "high", "against"}


def test_reference_is_the_baseline_with_the_smaller_error_and_has_no_pair():
    record = score(FOUR)
    assert record["reference"] == "baseline_2"
    assert set(record["paired"]) == {"start", "fit", "baseline_1"}
    assert record["paired"]["fit"]["against"] == "baseline_2"


def test_ratio_is_that_of_the_tabled_errors_and_the_better_design_is_seen():
    record = score(FOUR)
    fit, best = record["designs"]["fit"], record["designs"]["baseline_2"]
    pair = record["paired"]["fit"]
    assert pair["ratio"] == pytest.approx(fit["mse"] / best["mse"])
    assert pair["high"] < 1
    assert record["paired"]["start"]["low"] > 10


def test_without_baselines_the_first_design_is_the_reference():
    assert score({"start": 0.1, "fit": 0.05}, baselines=())["reference"] == "start"


def test_calibration_of_the_valid_bank_is_what_scores_the_test_bank():
    record = score(FOUR)
    slope, intercept = record["designs"]["fit"]["calibration"]
    # raw = truth / 2 + 0.4 + noise; attenuation 1 / (1 + sigma^2 / var(truth)) is under 1 %
    assert slope == pytest.approx(2.0, rel=0.03)
    assert intercept == pytest.approx(-0.8, abs=0.03)
    _, test = banks(FOUR)
    error = slope * test["fit"].best + intercept - HEIGHTS
    assert record["designs"]["fit"]["mse"] == pytest.approx(np.mean(error**2))
    assert record["designs"]["fit"]["raw_mse"] > 5 * record["designs"]["fit"]["mse"]


def test_volumes_without_accepted_muons_are_counted_and_scored_as_the_mean():
    valid, test = banks({"baseline": 0.03, "fit": 0.0})
    blind = test["fit"].prediction.copy()
    blind[:, :5] = np.nan  # five of the ten volumes at 0.6 m; the mean height is 0.95 m
    test["fit"] = replace(test["fit"], prediction=blind)
    design = evaluate(valid, test, EvaluationSettings(bootstrap=500), ["baseline"], seed=1)[
        "designs"
    ]["fit"]
    assert design["n_empty"] == 5
    assert design["mse"] == pytest.approx(5 * 0.35**2 / 80)
    assert sum(row["n"] for row in design["per_target"]) == 80


def test_a_blind_design_scores_the_variance_of_the_targets():
    valid, test = banks({"baseline": 0.03, "fit": 0.0})
    for bank in (valid, test):
        bank["fit"] = replace(bank["fit"], prediction=np.full_like(bank["fit"].prediction, np.nan))
    design = evaluate(valid, test, EvaluationSettings(bootstrap=500), ["baseline"], seed=1)[
        "designs"
    ]["fit"]
    assert design["mse"] == pytest.approx(HEIGHTS.var())
    assert (design["n_empty"], design["n_empty_calibration"]) == (80, 80)


def test_exposure_curve_is_in_seconds_and_falls_as_one_over_time():
    curve = score(FOUR)["designs"]["fit"]["exposure"]
    assert [row["seconds"] for row in curve] == [2.5, 10.0]
    assert curve[0]["variance"] / curve[1]["variance"] == pytest.approx(4.0, rel=0.2)
    assert curve[1]["mse"] == score(FOUR)["designs"]["fit"]["mse"]


def test_exposures_may_be_stored_in_any_order():
    valid, test = banks(FOUR)
    flip = {
        name: [replace(p, prediction=p.prediction[::-1].copy(), n_muons=p.n_muons[::-1].copy())
               for p in (valid[name], test[name])]
        for name in test
    }  # fmt: skip
    straight = evaluate(valid, test, EvaluationSettings(bootstrap=500), ["baseline_2"], seed=1)
    turned = evaluate(
        {k: v[0] for k, v in flip.items()}, {k: v[1] for k, v in flip.items()},
        EvaluationSettings(bootstrap=500), ["baseline_2"], seed=1,
    )  # fmt: skip
    assert straight == turned


def test_time_to_reach_an_error_follows_the_power_law():
    curve = [{"seconds": t, "mse": 1 / t} for t in (1.0, 4.0, 16.0)]
    assert seconds_to_reach(curve, 0.125) == pytest.approx(8.0)
    assert seconds_to_reach(curve, 0.01) is None
    assert seconds_to_reach(curve, 2.0) is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda valid, test: test.clear(), "nothing to evaluate"),
        (lambda valid, test: test.pop("baseline_2"), "'baseline_2' has no predictions"),
        (lambda valid, test: valid.pop("fit"), "no predictions for the calibration bank"),
        (
            lambda valid, test: test.update(fit=replace(test["fit"], truth=HEIGHTS + 0.1)),
            "one test bank for all",
        ),
        (
            lambda valid, test: valid.update(fit=replace(valid["fit"], n_muons=np.array([1, 2]))),
            "other exposures",
        ),
    ],
)
def test_banks_that_do_not_fit_together_are_refused(change, message):
    valid, test = banks(FOUR)
    change(valid, test)
    with pytest.raises(UserError, match=message):
        evaluate(valid, test, EvaluationSettings(bootstrap=500), ["baseline_2"], seed=1)


def test_stored_arrays_come_back_as_predictions():
    made = predictions(draws("stored", HEIGHTS.size))
    names = ("prediction", "truth", "n_muons", "generated", "aimed", "accepted", "used", "track",
             "track_accepted", "accepted_map")  # fmt: skip
    arrays = {name: getattr(made, name) for name in names}
    attrs = {"geometry": list(made.geometry), "budget_used": 6.0, "seconds_per_muon": 0.01}
    again = Predictions.from_arrays(arrays, attrs)
    np.testing.assert_array_equal(again.best, made.best)
    assert again.geometry == made.geometry
    del arrays["accepted_map"]
    with pytest.raises(UserError, match="accepted_map"):
        Predictions.from_arrays(arrays, attrs)


def test_each_design_takes_the_cut_that_is_best_on_the_validation_bank():
    def bank(name, errors):
        none, *cut = (predictions(draws(f"{name} {s}", 80), sigma=s) for s in errors)
        tried = [replace(p, fiducial_cut=x) for p, x in zip(cut, (0.3, 0.4), strict=True)]
        return replace(none, with_cuts=tuple(tried))

    # valid says 0.4 m for one design and none for the other; the test bank would say otherwise
    valid = {"start": bank("v", (0.05, 0.04, 0.02)), "baseline_2": bank("w", (0.02, 0.03, 0.04))}
    test = {"start": bank("t", (0.01, 0.02, 0.03)), "baseline_2": bank("u", (0.04, 0.01, 0.02))}
    designs = evaluate(valid, test, EvaluationSettings(), ["baseline_2"], 1)["designs"]
    assert designs["start"]["fiducial_cut"] == 0.4
    assert designs["baseline_2"]["fiducial_cut"] is None
    assert designs["start"]["rmse"] == pytest.approx(0.03, rel=0.3)
    assert designs["baseline_2"]["rmse"] == pytest.approx(0.04, rel=0.3)


def test_banks_with_other_cuts_are_refused():
    one = predictions(draws("one", 80))
    other = replace(one, with_cuts=(replace(one, fiducial_cut=0.3),))
    with pytest.raises(UserError, match="other cuts"):
        evaluate({"fit": one}, {"fit": other}, EvaluationSettings(), [], 1)
