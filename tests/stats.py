"""Statistical assertions: the tolerance comes from the standard error, never from trial.

False-alarm rates: 5 sigma is 5.7e-7 for each comparison (normal distribution). The streams are
fixed, so a failure is a fact about code or expectation: never retry, never widen.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import stats
from torch import Tensor

SIGMAS = 5.0
P_VALUE = 5.7e-7
"""Two-sided probability of a normal variable beyond 5 sigma."""


def as_sample(sample: Tensor | ArrayLike) -> np.ndarray:
    """A flat float64 copy; fails when a value is not finite."""
    values = sample.detach().cpu().numpy() if isinstance(sample, Tensor) else np.asarray(sample)
    flat = values.astype(np.float64).ravel()
    assert np.isfinite(flat).all(), f"{np.count_nonzero(~np.isfinite(flat))} values are not finite"
    return flat


def assert_mean(sample: Tensor | ArrayLike, expected: float, sigmas: float = SIGMAS) -> None:
    """The mean of independent values agrees with ``expected``."""
    values = as_sample(sample)
    error = values.std(ddof=1) / math.sqrt(values.size)
    _assert_close("mean", float(values.mean()), expected, error, sigmas)


def assert_fraction(mask: Tensor | ArrayLike, expected: float, sigmas: float = SIGMAS) -> None:
    """The fraction of true values agrees with the probability ``expected`` (binomial)."""
    values = as_sample(mask)
    error = math.sqrt(expected * (1 - expected) / values.size)
    _assert_close("fraction", float(values.mean()), expected, error, sigmas)


def assert_std(sample: Tensor | ArrayLike, expected: float, sigmas: float = SIGMAS) -> None:
    """The standard deviation agrees with ``expected``.

    Its standard error is taken from the sample's fourth moment, so that tails are allowed.
    """
    values = as_sample(sample)
    squares = (values - values.mean()) ** 2
    variance = squares.mean()
    error = squares.std(ddof=1) / math.sqrt(values.size) / (2 * math.sqrt(variance))
    _assert_close("std", float(values.std(ddof=1)), expected, float(error), sigmas)


def assert_rms(sample: Tensor | ArrayLike, expected: float, sigmas: float = SIGMAS) -> None:
    """The root mean square agrees with ``expected``."""
    squares = as_sample(sample) ** 2
    rms = math.sqrt(squares.mean())
    error = squares.std(ddof=1) / math.sqrt(squares.size) / (2 * rms)
    _assert_close("rms", rms, expected, float(error), sigmas)


def assert_correlation(
    first: Tensor | ArrayLike,
    second: Tensor | ArrayLike,
    expected: float,
    sigmas: float = SIGMAS,
) -> None:
    """Pearson's correlation of two normal samples agrees with ``expected`` (Fisher's z)."""
    x, y = as_sample(first), as_sample(second)
    found = math.atanh(float(np.corrcoef(x, y)[0, 1]))
    error = 1 / math.sqrt(x.size - 3)
    _assert_close("atanh(correlation)", found, math.atanh(expected), error, sigmas)


def assert_same_mean(
    first: Tensor | ArrayLike, second: Tensor | ArrayLike, sigmas: float = SIGMAS
) -> None:
    """Two independent samples have the same mean."""
    x, y = as_sample(first), as_sample(second)
    error = math.sqrt(x.var(ddof=1) / x.size + y.var(ddof=1) / y.size)
    _assert_close("difference of means", float(x.mean() - y.mean()), 0.0, error, sigmas)


def assert_counts(
    observed: Tensor | ArrayLike, expected: Tensor | ArrayLike, p_value: float = P_VALUE
) -> None:
    """Histogram counts follow ``expected`` (chi-square); expected is scaled to the same total.

    Every expected count must be at least 5, where the chi-square law holds.
    """
    seen, wanted = as_sample(observed), as_sample(expected)
    wanted = wanted * (seen.sum() / wanted.sum())
    assert wanted.min() >= 5, f"smallest expected count is {wanted.min():.3g}: merge bins"
    chi2, p = stats.chisquare(seen, wanted)
    assert p >= p_value, f"chi2 = {chi2:.1f} for {seen.size - 1} degrees of freedom, p = {p:.2g}"


def assert_distribution(
    sample: Tensor | ArrayLike, cdf: str, *args: float, p_value: float = P_VALUE
) -> None:
    """The sample follows a named scipy distribution (Kolmogorov-Smirnov)."""
    result = stats.kstest(as_sample(sample), cdf, args=args)
    assert result.pvalue >= p_value, f"KS = {result.statistic:.4f}, p = {result.pvalue:.2g}"


def assert_normal(sample: Tensor | ArrayLike, std: float, p_value: float = P_VALUE) -> None:
    """The sample is normal with mean 0 and this standard deviation."""
    assert_distribution(sample, "norm", 0.0, std, p_value=p_value)


def assert_gradients(
    found: Tensor, expected: Tensor, rtol: float = 1e-4, atol: float | None = None
) -> None:
    """Automatic gradients equal finite differences; ``atol`` defaults to rtol * the largest one."""
    floor = rtol * float(expected.abs().max()) if atol is None else atol
    torch.testing.assert_close(found, expected, rtol=rtol, atol=floor)


def _assert_close(what: str, found: float, expected: float, error: float, sigmas: float) -> None:
    pull = abs(found - expected) / error if error > 0 else math.inf * (found != expected)
    assert found == expected or pull <= sigmas, (
        f"{what} = {found:.6g}, expected {expected:.6g}: "
        f"off by {pull:.1f} standard errors of {error:.3g} (allowed {sigmas:g})"
    )
