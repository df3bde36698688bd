"""Mean squared error and its parts, per target and overall, with standard errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from tomopt_tasks.core import UserError

_MOST_BINS = 10


@dataclass(frozen=True, slots=True)
class TargetRow:
    """Volumes of one target value (or of one bin of targets)."""

    target: float
    """Mean truth of the row."""
    n: int
    mean: float
    """Mean calibrated prediction."""
    std: float | None
    """Standard deviation of the error (n - 1); None for a single volume."""
    mse: float
    mse_se: float | None


@dataclass(frozen=True, slots=True)
class Merit:
    """How well calibrated predictions meet the truth; squares in the target's unit squared."""

    mse: float
    mse_se: float
    rmse: float
    rmse_se: float
    mae: float
    bias2: float
    """Square of the mean error of each target, averaged, freed of its own noise: it may come out a
    little below zero where there is no bias."""
    variance: float
    """Variance of the error about the mean of its target; ``bias2 + variance == mse``."""
    per_target: tuple[TargetRow, ...]


def target_groups(truth: Float[np.ndarray, " volume"]) -> Int[np.ndarray, " volume"]:
    """Stratum of each volume: its target value, or a quantile bin if targets hardly repeat.

    Values within 1e-9 of the range of each other are one target. Every stratum holds two volumes or
    more, unless there is one volume only.
    """
    if truth.size == 0 or not np.isfinite(truth).all():
        raise UserError(
            f"truth of {truth.size} volumes is empty or not finite; check the scene's targets"
        )
    order = np.argsort(truth, kind="stable")
    span = float(np.ptp(truth))
    new = np.diff(truth[order], prepend=truth[order][0]) > 1e-9 * span
    groups = np.empty(truth.size, np.int64)
    groups[order] = np.cumsum(new)
    if np.bincount(groups).min() >= 2 or truth.size == 1:
        return groups
    n_bins = max(1, min(_MOST_BINS, truth.size // 2))
    groups[order] = np.arange(truth.size) * n_bins // truth.size
    return groups


def stratified_se(
    values: Float[np.ndarray, " volume"], groups: Int[np.ndarray, " volume"]
) -> float:
    """Standard error of the mean when the number of volumes per stratum is fixed."""
    total = 0.0
    for group in np.unique(groups):
        inside = values[groups == group]
        if inside.size > 1:
            total += inside.size * float(inside.var(ddof=1))
    return float(np.sqrt(total)) / values.size


def figures_of_merit(
    prediction: Float[np.ndarray, " volume"], truth: Float[np.ndarray, " volume"]
) -> Merit:
    """All figures of merit of calibrated, finite predictions.

    Args:
        prediction: calibrated, so that no volume is missing.
        truth: of the same volumes.
    """
    if not np.isfinite(prediction).all():
        raise ValueError(
            "predictions are not finite; calibrate them first, which gives every volume a value"
        )
    groups = target_groups(truth)
    rows, bias2, variance = [], 0.0, 0.0
    for group in np.unique(groups):
        inside = groups == group
        row, row_bias2, row_variance = _row(prediction[inside], truth[inside])
        rows.append(row)
        bias2 += row.n * row_bias2
        variance += row.n * row_variance
    error = prediction - truth
    mse = float(np.mean(error**2))
    mse_se = stratified_se(error**2, groups)
    rmse = float(np.sqrt(mse))
    return Merit(
        mse=mse,
        mse_se=mse_se,
        rmse=rmse,
        rmse_se=mse_se / (2 * rmse) if rmse > 0 else 0.0,
        mae=float(np.mean(np.abs(error))),
        bias2=bias2 / truth.size,
        variance=variance / truth.size,
        per_target=tuple(rows),
    )


def _row(prediction: np.ndarray, truth: np.ndarray) -> tuple[TargetRow, float, float]:
    """The row of one target, its noise-free squared bias and its variance.

    With s2 the variance of the error (n - 1) and b its mean, E[b^2] = bias^2 + s2 / n; so
    (b^2 - s2 / n) + s2 is the mean squared error exactly.
    """
    error = prediction - truth
    n = error.size
    squares = error**2
    variance = float(error.var(ddof=1)) if n > 1 else 0.0
    row = TargetRow(
        target=float(truth.mean()),
        n=n,
        mean=float(prediction.mean()),
        std=float(np.sqrt(variance)) if n > 1 else None,
        mse=float(squares.mean()),
        mse_se=float(squares.std(ddof=1) / np.sqrt(n)) if n > 1 else None,
    )
    return row, float(squares.mean()) - variance, variance
