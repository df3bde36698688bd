"""Error against exposure: what more muons would buy, and what a better design saves in time."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from tomopt_tasks.evaluation.calibration import fit_calibration
from tomopt_tasks.evaluation.merit import figures_of_merit
from tomopt_tasks.evaluation.predictions import Predictions


def exposure_curve(
    valid: Predictions, test: Predictions, correction: str = "linear"
) -> list[dict[str, Any]]:
    """Figures of merit at each exposure, the calibration fitted at that same exposure.

    Returns:
        One row an exposure, shortest first: n_muons, seconds, mse, mse_se, bias2, variance and
        n_empty (test volumes without a prediction, scored as the mean of the calibration bank).
    """
    rows = []
    for index in np.argsort(test.n_muons, kind="stable"):
        calibration = fit_calibration(valid.prediction[index], valid.truth, correction)
        raw = test.prediction[index]
        merit = figures_of_merit(calibration(raw), test.truth)
        n_muons = int(test.n_muons[index])
        rows.append(
            {
                "n_muons": n_muons,
                "seconds": n_muons * test.seconds_per_muon,
                "mse": merit.mse,
                "mse_se": merit.mse_se,
                "bias2": merit.bias2,
                "variance": merit.variance,
                "n_empty": int((~np.isfinite(raw)).sum()),
            }
        )
    return rows


def seconds_to_reach(curve: Sequence[Mapping[str, Any]], mse: float) -> float | None:
    """Exposure [s] at which a curve comes down to ``mse``, on straight log-log segments.

    None if the curve does not cross that value between its ends: nothing is extrapolated.
    """
    for before, after in pairwise(curve):
        above, below = float(before["mse"]), float(after["mse"])
        if above >= mse >= below > 0 and above > below:
            part = math.log(above / mse) / math.log(above / below)
            start = math.log(before["seconds"])
            return math.exp(start + part * (math.log(after["seconds"]) - start))
    return None
