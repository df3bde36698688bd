import math

import pytest
import torch

from tests.stats import (
    assert_correlation,
    assert_counts,
    assert_fraction,
    assert_mean,
    assert_normal,
    assert_rms,
    assert_same_mean,
    assert_std,
)
from tomopt_tasks import rng

N = 40_000


@pytest.fixture
def noise():
    return torch.randn(N, generator=rng.stream(1, "tests", "stats"), dtype=torch.float64)


def test_true_statements_pass(noise):
    assert_mean(noise + 3, 3.0)
    assert_std(noise * 2, 2.0)
    assert_rms(noise * 2, 2.0)
    assert_normal(noise * 2, 2.0)
    assert_fraction(noise > 0, 0.5)
    half = noise[: N // 2]
    assert_same_mean(half, noise[N // 2 :])
    assert_correlation(half, half * 0.6 + 0.8 * noise[N // 2 :], 0.6)
    assert_counts([(noise < 0).sum(), (noise >= 0).sum()], [1.0, 1.0])


# a shift of 0.03 is 6 standard errors of the mean (1 / sqrt(40000) = 0.005)
FALSE_CLAIMS = {
    "mean": lambda noise: assert_mean(noise, 0.03),
    "std": lambda noise: assert_std(noise, 1.03),
    "rms": lambda noise: assert_rms(noise, 1.03),
    "normal": lambda noise: assert_normal(noise, 1.05),
    "fraction": lambda noise: assert_fraction(noise > 0, 0.52),
    "same mean": lambda noise: assert_same_mean(noise[: N // 2], noise[N // 2 :] + 0.06),
    "correlation": lambda noise: assert_correlation(noise[: N // 2], noise[N // 2 :], 0.05),
    "counts": lambda noise: assert_counts([N // 2 + 600, N // 2 - 600], [1.0, 1.0]),
}


@pytest.mark.parametrize("claim", FALSE_CLAIMS.values(), ids=FALSE_CLAIMS)
def test_statements_that_are_six_sigma_off_fail(noise, claim):
    with pytest.raises(AssertionError):
        claim(noise)


def test_a_sample_that_is_not_finite_fails():
    with pytest.raises(AssertionError, match="1 values are not finite"):
        assert_mean([1.0, math.nan], 1.0)


def test_a_constant_sample_must_be_exact():
    assert_mean([2.0, 2.0], 2.0)
    with pytest.raises(AssertionError, match="mean = 2"):
        assert_mean([2.0, 2.0], 2.1)
