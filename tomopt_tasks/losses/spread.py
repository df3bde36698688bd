"""Objectives of a batch of volumes that do not depend on a linear bias of the predictions."""

import torch
from jaxtyping import Float
from torch import Tensor


def spread_over_range(
    predictions: Float[Tensor, " vol"], targets: Float[Tensor, " vol"]
) -> Float[Tensor, ""] | None:
    """Mean spread of the predictions at equal target, over the spread of their means (spec 9.10).

    Args:
        predictions: one number a volume.
        targets: what they estimate; volumes are grouped by equal targets.

    Returns:
        mean over targets of std(predictions) / std over targets of mean(predictions), with unbiased
        standard deviations; None if fewer than two targets have two predictions each.
    """
    rows = [torch.tensor(row) for row in _rows(targets).values() if len(row) >= 2]
    groups = [predictions[row.to(predictions.device)] for row in rows]
    if len(groups) < 2:
        return None
    spread = torch.stack([group.std() for group in groups]).mean()
    means = torch.stack([group.mean() for group in groups])
    result: Tensor = spread / means.std()
    return result


def calibrated_mse(
    predictions: Float[Tensor, " vol"], targets: Float[Tensor, " vol"]
) -> Float[Tensor, ""]:
    """Mean squared error after the best straight-line correction, in closed form.

    The least-squares line from predictions to targets leaves var(target) (1 - r^2), where r is the
    correlation; the gradient passes through the line.

    Args:
        predictions: one number a volume; not all equal.
        targets: what they estimate.
    """
    p = predictions - predictions.mean()
    t = targets - targets.mean()
    slope = (p * t).sum() / (p * p).sum().clamp_min(1e-30)
    return ((t - slope * p) ** 2).mean()


def expected_mse(
    predictions: Float[Tensor, " vol"],
    targets: Float[Tensor, " vol"],
    variances: Float[Tensor, " vol"],
) -> Float[Tensor, ""] | None:
    """Mean squared error to expect after the best straight-line correction.

    Like :func:`calibrated_mse`, var(target) - cov(target, prediction)^2 / var(prediction), but the
    variance of predictions at equal target comes from the scatter of the muons within each volume
    instead of the few volumes of a batch. That estimate is several times less noisy, and so is its
    gradient; the expectation is the same.

    Args:
        predictions: one number a volume.
        targets: what they estimate; volumes are grouped by equal targets.
        variances: variance of each prediction over other muons.

    Returns:
        The expected error in squared units of the target; None for fewer than two targets.
    """
    rows = _rows(targets)
    if len(rows) < 2:
        return None
    levels = targets.new_tensor(list(rows))
    counts = predictions.new_tensor([len(row) for row in rows.values()])
    group = torch.empty(len(targets), dtype=torch.int64)
    for number, row in enumerate(rows.values()):
        group[row] = number
    group = group.to(predictions.device)
    means = torch.zeros_like(levels).index_add(0, group, predictions) / counts
    weight = counts / counts.sum()
    noise = variances.mean()
    t = levels - (weight * levels).sum()
    m = means - (weight * means).sum()
    within = noise * (len(levels) - 1) / counts.sum()
    total = (weight * m * m).sum() - within + noise
    covariance = (weight * t * m).sum()
    error: Tensor = (weight * t * t).sum() - covariance**2 / total
    return error


def _rows(targets: Float[Tensor, " vol"]) -> dict[float, list[int]]:
    """Target -> the volumes that have it, in ascending order: all that the host asks the device."""
    rows: dict[float, list[int]] = {}
    for row, target in enumerate(targets.tolist()):
        rows.setdefault(target, []).append(row)
    return dict(sorted(rows.items()))
