"""The published ladle table, an independent run of the published code, and ours beside them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tomopt_tasks.config.load import load_study
from tomopt_tasks.evaluation.calibration import fit_calibration
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.stages import load_predictions
from tomopt_tasks.store.opening import open_store

FILE = Path(__file__).parents[2] / "data" / "studies" / "ladle_furnace_published.yaml"
IN_SAMPLE = "start, in sample"
"""The first design judged on the scans that its correction was fitted on, as it was published."""
DESIGNS = (IN_SAMPLE, "start", "stage_1", "stage_2", "baseline_1", "baseline_2")

Changes = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Variant:
    """A way to compute the table: what is changed in the study, and the labels."""

    name: str
    changes: Changes = ()
    floor: float | None = 0.1


AS_PUBLISHED = Variant("as published")
TRUE_LABEL = Variant("true label", floor=None)
RIGHT_FLUX = Variant("right flux", (("muons.source.solid_angle", "true"),))
BOTH = Variant("right flux, true label", RIGHT_FLUX.changes, None)
ERRORS = (AS_PUBLISHED, TRUE_LABEL, RIGHT_FLUX, BOTH)
"""The two errors that matter, taken back one by one."""

SWITCHES = (
    Variant("logarithm of the path", (("transport.log_term", "path"),)),
    Variant("beta", (("transport.beta", "true"),)),
    Variant("displacement along", (("transport.displacement_sign", "1"),)),
    Variant("centred fit", (("inference.track_fit", "centred"),)),
    Variant("weighted quantiles", (("inference.weighted_quantiles", "true"),)),
    Variant("two hits a side", (("inference.acceptance", "two_each_side"),)),
)
"""Every other compat setting that hard edges let matter; and the acceptance, a choice."""

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    AS_PUBLISHED.name: {
        IN_SAMPLE: 2.55e-2, "stage_1": 1.65e-3, "stage_2": 1.13e-3, "baseline_1": 1.18e-3,
        "baseline_2": 1.13e-3,
    },
    RIGHT_FLUX.name: {IN_SAMPLE: 3.92e-2},
}  # fmt: skip
"""MSE of the authors' notebook, bias-corrected [m2], one exposure of 96 ladles each; with the right
flux from a later run of theirs."""

PUBLISHED_MAE: Mapping[str, Mapping[str, float]] = {
    AS_PUBLISHED.name: {
        IN_SAMPLE: 0.126, "stage_1": 0.0322, "stage_2": 0.0251, "baseline_1": 0.0253,
        "baseline_2": 0.0245,
    },
    RIGHT_FLUX.name: {IN_SAMPLE: 0.167},
}  # fmt: skip
"""Mean absolute error of the same [m]."""

RERUN: Mapping[str, Mapping[str, Sequence[float]]] = {
    AS_PUBLISHED.name: {
        IN_SAMPLE: [3.28e-2], "start": [3.31e-2], "stage_1": [1.52e-3], "stage_2": [1.03e-3],
        "baseline_1": [1.12e-3], "baseline_2": [1.16e-3],
    },
    TRUE_LABEL.name: {
        "start": [3.84e-2], "stage_1": [8.37e-4], "stage_2": [5.40e-4], "baseline_1": [5.27e-4],
        "baseline_2": [5.64e-4],
    },
    RIGHT_FLUX.name: {
        IN_SAMPLE: [4.21e-2, 3.97e-2, 3.53e-2], "start": [4.52e-2, 4.06e-2, 4.25e-2],
        "stage_1": [2.61e-3, 2.10e-3], "stage_2": [1.67e-3, 1.09e-3],
        "baseline_1": [1.53e-3, 1.91e-3], "baseline_2": [1.41e-3, 1.66e-3],
    },
    BOTH.name: {
        "start": [5.23e-2, 4.65e-2, 5.00e-2], "stage_1": [1.89e-3, 1.26e-3],
        "stage_2": [1.26e-3, 9.33e-4], "baseline_1": [1.22e-3, 1.24e-3],
        "baseline_2": [1.06e-3, 9.95e-4],
    },
}  # fmt: skip
"""MSE of the published code run independently, one number a seed [m2]: calibrated on 48 ladles and
judged on 48 others."""

WHOLE = (slice(0, 96),)
"""As many ladles as the authors had."""

HALVES = (slice(0, 48), slice(48, 96))
"""As many as the independent run had: six a height."""


Table = Mapping[str, Float[np.ndarray, "seed exposure"]]
"""For each design one number an exposure; the exposures of a seed are not quite independent."""


@dataclass(frozen=True)
class Figures:
    """One variant. Of the two banks of a seed, either is calibrated on the other."""

    mse: Table
    """[m2]"""
    mae: Table
    """Mean absolute error [m]."""
    half: Table
    """MSE of half an exposure, calibrated on half of one [m2]."""


@dataclass(frozen=True)
class Agreement:
    """Our mean beside somebody's numbers."""

    mean: float
    spread: float
    """Standard deviation of one exposure, theirs too."""
    error: float
    """Standard error of our mean."""
    theirs: float
    """Mean of their numbers."""
    pull: float
    """Difference of the means over its error."""

    @property
    def ratio(self) -> float:
        """Ours over theirs."""
        return self.mean / self.theirs


def measure(store: str | Path, variant: Variant, seeds: Iterable[int]) -> Figures:
    """The table of one variant, through the pipeline; what the store holds does not run again.

    Args:
        store: where predictions are kept.
        variant: what is computed.
        seeds: each has muons and hits of its own, for two banks.
    """
    banks = [predictions(str(store), variant.changes, seed) for seed in seeds]
    mse: dict[str, np.ndarray] = {}
    mae: dict[str, np.ndarray] = {}
    half: dict[str, np.ndarray] = {}
    for name in DESIGNS:
        design = "start" if name == IN_SAMPLE else name
        both = [(one[design], other[design]) for pair in banks for one, other in (pair, pair[::-1])]
        pairs = [(one, one if name == IN_SAMPLE else other) for one, other in both]
        whole, halves = (
            np.array([[_errors(*pair, variant.floor, part) for part in parts] for pair in pairs])
            for parts in (WHOLE, HALVES)
        )
        mse[name] = np.square(whole).mean(-1).reshape(len(banks), -1)
        mae[name] = np.abs(whole).mean(-1).reshape(len(banks), -1)
        half[name] = np.square(halves).mean(-1).reshape(len(banks), -1)
    return Figures(mse, mae, half)


def agreement(ours: Float[np.ndarray, "seed exposure"], theirs: Sequence[float]) -> Agreement:
    """Compare a mean over exposures with numbers of as large exposures.

    Args:
        ours: at least two seeds.
        theirs: one number an exposure.
    """
    mean, spread = float(ours.mean()), float(ours.std(ddof=1))
    error = float(ours.mean(1).std(ddof=1)) / math.sqrt(len(ours))
    other = float(np.mean(theirs))
    pull = (mean - other) / math.hypot(error, spread / math.sqrt(len(theirs)))
    return Agreement(mean, spread, error, other, pull)


def effect(
    changed: Float[np.ndarray, "seed exposure"], before: Float[np.ndarray, "seed exposure"]
) -> tuple[float, float]:
    """Ratio of two means over the same seeds, and its standard error by the jackknife."""
    over, under = changed.mean(1), before.mean(1)
    n = under.size
    without = (over.sum() - over) / (under.sum() - under)
    error = math.sqrt((n - 1) / n * float(((without - without.mean()) ** 2).sum()))
    return float(over.sum() / under.sum()), error


Bank = Mapping[str, Predictions]


@cache
def predictions(store: str, changes: Changes, seed: int) -> tuple[Bank, Bank]:
    """What each design makes of the two banks of a seed."""
    study = load_study(FILE, [("seed", str(seed)), *changes])
    results = open_store(store)
    with begin(study, results) as run:
        run_all(run)
    refs = {step.stage.label: run.refs[step.stage.key] for step in run.steps}
    valid, test = (
        {name: load_predictions(results, refs[f"{name} on {split}"]) for name in study.compare}
        for split in ("valid", "test")
    )
    return valid, test


def _errors(valid: Predictions, test: Predictions, floor: float | None, part: slice) -> np.ndarray:
    """Errors of the calibrated predictions for some ladles, from a fit to as many others."""
    known, judged = valid.floored(floor), test.floored(floor)
    correct = fit_calibration(known.best[part], known.truth[part])
    errors: np.ndarray = correct(judged.best[part]) - judged.truth[part]
    return errors
