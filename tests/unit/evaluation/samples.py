"""Numbers and predictions for the tests of the evaluation."""

import numpy as np
import torch

from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.rng import stream

HEIGHTS = np.repeat(np.linspace(0.6, 1.3, 8), 10)


def draws(name, *shape):
    """Standard normal numbers of a fixed stream."""
    numbers = torch.randn(shape, generator=stream(1, "tests", name), dtype=torch.float64)
    return numbers.numpy()


def predictions(noise, *, truth=HEIGHTS, exposures=(250, 1000), slope=0.5, offset=0.4, sigma=0.03):
    """Raw predictions on a line with noise ~ 1 / sqrt(muons)."""
    rows = [slope * truth + offset + slope * sigma * noise * np.sqrt(1000 / n) for n in exposures]
    count = np.ones(truth.size, np.int64)
    return Predictions(
        prediction=np.stack(rows),
        truth=truth,
        n_muons=np.array(exposures),
        generated=2500 * count,
        aimed=1000 * count,
        accepted=300 * count,
        used=290 * count,
        track=np.zeros((3, 9)),
        track_accepted=np.array([True, False, True]),
        accepted_map=np.zeros((40, 40), np.int64),
        geometry=({"name": "above[0]", "pos": "above", "xy": [0.5, 0.5], "z": 1.5},),
        budget_used=6.0,
        seconds_per_muon=0.01,
    )
