"""Linear calibration: fitted in closed form on one bank, applied to another."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tomopt_tasks.core import UserError


@dataclass(frozen=True, slots=True)
class LinearCalibration:
    """truth ~ slope * prediction + intercept."""

    slope: float
    intercept: float
    """In the unit of the target."""
    fallback: float
    """Mean truth of the calibration bank: what is said of a volume without a prediction."""

    def __call__(self, prediction: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Calibrated prediction; ``fallback`` where the raw one is not finite."""
        seen = np.isfinite(prediction)
        raw = np.where(seen, prediction, 0.0)
        calibrated: np.ndarray = np.where(seen, self.slope * raw + self.intercept, self.fallback)
        return calibrated


def fit_calibration(
    prediction: Float[np.ndarray, " volume"],
    truth: Float[np.ndarray, " volume"],
    correction: str = "linear",
) -> LinearCalibration:
    """Least squares of truth on prediction, over the volumes that have a prediction.

    Where the predictions cannot tell volumes apart (all equal, fewer than two, none), the slope is
    0 and the intercept the mean truth of the whole bank: the best constant.

    Args:
        prediction: raw predictions; NaN where no muon was accepted.
        truth: of the same volumes; finite.
        correction: "linear", or "none" for slope 1 and intercept 0.
    """
    if truth.size == 0:
        raise UserError("calibration bank has no volumes; give `scenes.valid` at least one")
    if not np.isfinite(truth).all():
        raise UserError(
            "calibration bank has a target that is not finite; every target must be a number"
        )
    fallback = float(truth.mean())
    if correction == "none":
        return LinearCalibration(1.0, 0.0, fallback)
    seen = np.isfinite(prediction)
    if seen.sum() < 2:
        return LinearCalibration(0.0, fallback, fallback)
    x, y = prediction[seen], truth[seen]
    dx = x - x.mean()
    spread = float(dx @ dx)
    if spread <= x.size * (8 * np.finfo(np.float64).eps * float(np.abs(x).max())) ** 2:
        return LinearCalibration(0.0, fallback, fallback)
    slope = float(dx @ (y - y.mean())) / spread
    return LinearCalibration(slope, float(y.mean() - slope * x.mean()), fallback)
