"""The regret of designs by their expected errors."""

import numpy as np
import pytest

from tests.benchmarks.regret import Judged, regrets

TARGET = np.repeat([0.6, 0.9, 1.2], 40)


def design(sigma, name):
    """Predictions on a line with a known spread, which is what the variances say."""
    rng = np.random.default_rng(name)  # noqa: TID251
    prediction = 0.5 * TARGET + 0.3 + 0.5 * sigma * rng.normal(size=TARGET.size)
    return Judged(prediction, np.full(TARGET.size, (0.5 * sigma) ** 2))


def test_the_regret_is_that_of_the_expected_errors_and_the_best_has_none():
    found = regrets({"good": design(0.02, 1), "worse": design(0.022, 2)}, TARGET)
    assert found["good"][1:] == (0.0, 0.0)
    assert found["good"][0] == pytest.approx(0.02**2, rel=0.05)
    error, regret, spread = found["worse"]
    assert regret == pytest.approx(1.1**2 - 1, abs=3 * spread)
    assert 0 < spread < 0.1
    assert error / found["good"][0] == pytest.approx(1 + regret)
