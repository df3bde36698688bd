"""Many designs over volumes and seeds: intervals cover, ties are ties, more seeds help as said."""

import json

import numpy as np
import pytest

from tests.unit.evaluation.samples import HEIGHTS, draws, predictions
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.compare import Entry, compare
from tomopt_tasks.evaluation.merit import stratified_se
from tomopt_tasks.evaluation.resample import Resamples, percentiles
from tomopt_tasks.evaluation.separate import needed_to_separate
from tomopt_tasks.evaluation.settings import EvaluationSettings

GROUPS = np.repeat(np.arange(8), 12)
SETTINGS = EvaluationSettings(bootstrap=1000)


def pair(name, sigma):
    """Predictions of the calibration and the test bank with noise of this size."""
    return tuple(
        predictions(draws(f"{bank} {name}", HEIGHTS.size), sigma=sigma, slope=0.5)
        for bank in ("valid", "test")
    )


def repeated(name, sigmas, *, baseline=False):
    repeats = {str(i + 1): pair(f"{name} {i}", sigma) for i, sigma in enumerate(sigmas)}
    return Entry(repeats, baseline)


def example(fit=(0.020, 0.021, 0.019, 0.020)):
    return {
        "fit": repeated("fit", fit),
        "human": Entry({"-": pair("human", 0.03)}, baseline=True),
        "worse": Entry({"-": pair("worse", 0.06)}, baseline=True),
    }


def test_the_record_is_json_and_pools_over_seeds():
    record = compare(example(), SETTINGS)
    assert record == json.loads(json.dumps(record, allow_nan=False))
    assert record["reference"] == "human"
    fit = record["entries"]["fit"]
    assert fit["mse"] == pytest.approx(np.mean([row["mse"] for row in fit["repeats"]]))
    assert fit["against"]["ratio"] == pytest.approx(fit["mse"] / record["entries"]["human"]["mse"])
    assert fit["low"] < fit["mse"] < fit["high"]
    assert fit["wins"] == sum(row["against"]["high"] < 1 for row in fit["repeats"]) >= 3
    assert record["entries"]["human"]["spread"] is None


def test_the_best_repetition_has_no_regret():
    rows = compare(example(), SETTINGS)["entries"]["fit"]["repeats"]
    regrets = [row["regret"] for row in rows]
    assert min(regrets) == 0.0
    best = min(row["mse"] for row in rows)
    assert [1 + r for r in regrets] == pytest.approx([row["mse"] / best for row in rows])


def test_ranks_go_from_best_to_worst_and_equal_designs_share_one():
    entries = example() | {"twin": repeated("fit", (0.020, 0.021, 0.019, 0.020))}
    board = compare(entries, SETTINGS)["board"]
    assert [row["rank"] for row in board] == [1, 1, 3, 4]
    assert [row["tie"] for row in board] == [True, True, False, False]
    assert board[1]["to_leader"]["ratio"] == 1.0


def test_designs_on_other_volumes_are_not_compared():
    entries = example()
    valid, test = pair("odd", 0.03)
    odd = type(test)(**{n: getattr(test, n) for n in test.__slots__} | {"truth": test.truth + 0.1})
    with pytest.raises(UserError, match="tested on other volumes"):
        compare(entries | {"odd": Entry({"-": (valid, odd)})}, SETTINGS)


def test_the_bootstrap_knows_the_variance_over_seeds():
    means = np.array([1.0, 1.4, 0.7, 1.1, 0.8, 1.0])
    squares = np.repeat(means[:, None], GROUPS.size, axis=1)
    pooled, each = Resamples(GROUPS, 1, 40_000).means(squares, [str(i) for i in range(6)])
    expected = means.var(ddof=1) / means.size  # of a mean of six
    assert pooled.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / 40_000))
    assert np.ptp(each, axis=1) == pytest.approx(0.0, abs=1e-12)


def test_the_bootstrap_knows_the_variance_over_volumes_within_strata():
    volumes = draws("volumes", GROUPS.size) ** 2 + GROUPS
    pooled, _ = Resamples(GROUPS, 1, 40_000).means(np.repeat(volumes[None], 3, axis=0), list("abc"))
    expected = stratified_se(volumes, GROUPS) ** 2  # the spread between strata does not count
    assert pooled.var() == pytest.approx(expected, rel=5 * np.sqrt(2 / 40_000))


def test_designs_with_the_same_seeds_keep_the_same_drawn_seeds():
    seeds = np.array([1.0, 3.0, 2.0, 5.0])
    a = np.repeat(seeds[:, None], GROUPS.size, axis=1)
    resamples = Resamples(GROUPS, 1, 500)
    ours, _ = resamples.means(a, list("1234"))
    theirs, _ = resamples.means(0.5 * a, list("1234"))
    other, _ = resamples.means(0.5 * a, list("5678"))
    assert ours / theirs == pytest.approx(2.0)
    assert np.ptp(ours / other) > 0.5


def test_intervals_over_seeds_and_volumes_cover_the_truth_and_those_over_volumes_do_not():
    n_seeds, n_trials, missed, missed_by_volumes = 10, 300, 0, 0
    labels = [str(i) for i in range(n_seeds)]
    effects = 1 + 0.3 * draws("effects", n_trials, n_seeds)  # seeds differ by 30 %
    noise = draws("noise", n_trials, GROUPS.size) ** 2  # mean 1, shared by all designs
    for trial in range(n_trials):
        squares = effects[trial][:, None] * noise[trial]
        resamples = Resamples(GROUPS, trial, 400)
        ours, each = resamples.means(squares, labels)
        theirs, _ = resamples.means(noise[trial][None], ["-"])
        low, high = percentiles(ours / theirs)
        missed += not low <= 1 <= high
        low, high = percentiles(each.mean(axis=0) / theirs)
        missed_by_volumes += not low <= 1 <= high
    # nominal 5 %; ten seeds make a percentile interval a little short. 5 sigma above 8 %: 16 %
    assert missed / n_trials < 0.16
    assert missed_by_volumes / n_trials > 0.9


def test_needed_seeds_and_volumes_follow_from_the_two_variances():
    ours = 0.9 + np.array([0.1, -0.1, 0.1, -0.1])[:, None] + np.zeros(GROUPS.size)
    theirs = np.ones((1, GROUPS.size))
    wave = 0.2 * (-1.0) ** np.arange(GROUPS.size)
    needed = needed_to_separate(ours + wave, theirs, GROUPS)
    between = 4 * 0.01 / 3  # variance over seeds
    within = 8 * 12 * 0.04 * 12 / 11 / GROUPS.size**2  # of the mean over volumes
    target = (0.1 / 2.8016) ** 2  # 1.9600 + 0.8416 standard errors
    assert needed.seeds == np.ceil(between / (target - within))
    assert needed.volumes is None  # four seeds alone are too uncertain
    assert needed_to_separate(ours, ours, GROUPS).seeds is None


def test_without_repetitions_only_volumes_can_help():
    a, b = (1 + 0.3 * draws(name, 1, GROUPS.size) for name in "ab")
    needed = needed_to_separate(a + 0.02, b, GROUPS)
    assert needed.seeds is None
    assert needed.volumes > GROUPS.size
