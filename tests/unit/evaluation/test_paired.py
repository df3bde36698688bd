import numpy as np
import pytest

from tests.unit.evaluation.samples import draws
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.paired import bootstrap_stream, paired_ratio, volumes_to_separate
from tomopt_tasks.rng import stream

GROUPS = np.repeat(np.arange(8), 12)


def ratio(ours, theirs, groups=GROUPS, seed=1, draws=2000):
    return paired_ratio(ours, theirs, groups, bootstrap_stream(seed), draws=draws)


def correlated_squares(name, n, true_ratio, rho=0.6):
    """Squared errors of two designs that share part of their noise; rows are experiments."""
    common, own, other = (draws(f"{name} {part}", n, GROUPS.size) for part in "abc")
    a = np.sqrt(true_ratio) * (np.sqrt(rho) * common + np.sqrt(1 - rho) * own)
    b = np.sqrt(rho) * common + np.sqrt(1 - rho) * other
    scale = 1 + GROUPS / 8
    return (scale * a) ** 2, (scale * b) ** 2


def test_equal_designs_tie_exactly():
    squares, _ = correlated_squares("equal", 1, 1.0)
    result = ratio(squares[0], squares[0])
    assert (result.ratio, result.low, result.high) == (1.0, 1.0, 1.0)
    assert result.tie
    assert result.volumes_needed is None


def test_constant_factor_is_known_without_any_doubt_because_volumes_are_paired():
    squares, _ = correlated_squares("factor", 1, 1.0)
    result = ratio(0.64 * squares[0], squares[0])
    np.testing.assert_allclose((result.ratio, result.low, result.high), 0.64, rtol=1e-12)
    assert not result.tie


def test_pairing_narrows_the_interval_of_correlated_designs():
    ours, theirs = correlated_squares("pairing", 1, 0.8, rho=0.9)
    paired = ratio(ours[0], theirs[0])
    moved = np.concatenate([np.roll(theirs[0][g == GROUPS], 1) for g in range(8)])
    unpaired = ratio(ours[0], moved)
    assert paired.high - paired.low < 0.7 * (unpaired.high - unpaired.low)
    assert paired.ratio == pytest.approx(unpaired.ratio)


def test_interval_covers_the_truth_in_95_percent_of_experiments():
    n, true_ratio = 500, 0.75
    ours, theirs = correlated_squares("coverage", n, true_ratio)
    results = [
        ratio(a, b, seed=k, draws=400) for k, (a, b) in enumerate(zip(ours, theirs, strict=True))
    ]
    covered = np.mean([r.low <= true_ratio <= r.high for r in results])
    # 5 sigma of a binomial: 5 * sqrt(0.95 * 0.05 / 500) = 0.049
    assert abs(covered - 0.95) < 0.049
    below, above = (
        np.mean(side)
        for side in zip(*((r.high < 0.75, r.low > 0.75) for r in results), strict=True)
    )
    assert max(below, above) < 0.025 + 5 * np.sqrt(0.025 * 0.975 / n)


def test_bootstrap_variance_is_unbiased_in_small_strata():
    # three volumes a stratum: plain resampling would give 2/3 of the variance
    groups = np.repeat(np.arange(50), 3)
    values = draws("small strata", 150) ** 2 + 1
    result = paired_ratio(values, np.ones(150), groups, stream(3, "b"), draws=4000)
    within = np.mean([values[groups == g].var(ddof=1) for g in range(50)])
    # width of 95 % of a normal is 3.92 sigma; percentiles of 4000 draws are good to 2 %
    assert result.high - result.low == pytest.approx(3.92 * np.sqrt(within / 150), rel=0.08)


def test_strata_keep_their_weight_in_every_resample():
    groups = np.repeat([0, 1], [4, 40])
    ours = np.where(groups == 0, 10.0, 1.0)
    result = paired_ratio(ours, np.ones(44), groups, stream(1, "b"), draws=200)
    np.testing.assert_allclose((result.low, result.high), ours.mean(), rtol=1e-12)


def test_same_seed_gives_the_same_interval_and_another_seed_another():
    ours, theirs = correlated_squares("seed", 1, 0.9)
    assert ratio(ours[0], theirs[0]) == ratio(ours[0], theirs[0])
    assert ratio(ours[0], theirs[0]).low != ratio(ours[0], theirs[0], seed=2).low


def test_volumes_needed_shrink_with_the_square_of_the_difference():
    noise = draws("needed", 96)
    noise -= noise.mean()
    one = volumes_to_separate(1.1 + 0.5 * noise, np.ones(96), np.zeros(96, np.int64))
    two = volumes_to_separate(1.2 + 0.5 * noise, np.ones(96), np.zeros(96, np.int64))
    # (1.95996 + 0.84162)^2 s^2 / d^2
    assert one == np.ceil(7.8489 * 0.25 * noise.var(ddof=1) / 0.01)
    assert one == pytest.approx(4 * two, abs=4)


def test_so_many_volumes_separate_in_80_percent_of_experiments():
    n = volumes_to_separate(1.4 + draws("pilot", 4000), np.ones(4000), np.zeros(4000, np.int64))
    means = 0.4 + draws("power", 2000, n).mean(axis=1)
    # 5 sigma of a binomial, plus 0.02 for the pilot's own error
    assert np.mean(means > 1.96 / np.sqrt(n)) == pytest.approx(0.8, abs=0.045 + 0.02)


def test_ratio_to_a_perfect_design_is_refused():
    with pytest.raises(UserError, match="no error at all"):
        ratio(np.ones(96), np.zeros(96))
