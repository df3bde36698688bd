"""How many more repetitions, or volumes, would tell two designs apart."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

from tomopt_tasks.evaluation.merit import stratified_se


@dataclass(frozen=True, slots=True)
class Needed:
    """What would separate two designs at 95 % confidence with a power of 80 %."""

    seeds: int | None
    """Repetitions in all, at the volumes that there are; None: no number of them would."""
    volumes: int | None
    """Test volumes in all, at the repetitions that there are; None: no number of them would."""


def needed_to_separate(
    ours: Float[np.ndarray, "label volume"],
    theirs: Float[np.ndarray, "other volume"],
    groups: Int[np.ndarray, " volume"],
    *,
    paired: bool = True,
    power: float = 0.8,
) -> Needed:
    """Normal approximation, were the measured difference D of the mean errors the true one.

    The variance of D is s2 / R from R repetitions and v / V from V volumes; separated means that D
    is z times its standard error.

    Args:
        ours: squared errors, one row a repetition.
        theirs: those of the other design.
        groups: stratum of each volume.
        paired: rows of both have the same labels, in the same order.
        power: probability to see the difference.
    """
    between, n = _between(ours, theirs, paired)
    difference = ours.mean(axis=0) - theirs.mean(axis=0)
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)
    target = (float(difference.mean()) / z) ** 2
    within = stratified_se(difference, groups) ** 2
    seeds = volumes = None
    if between is not None and target > within:
        seeds = max(2, math.ceil(between / (target - within)))
    spread = 0.0 if between is None else between / n
    if target > spread:
        volumes = max(2, math.ceil(within * difference.size / (target - spread)))
    return Needed(seeds, volumes)


def _between(
    ours: np.ndarray,
    theirs: np.ndarray,
    paired: bool,  # noqa: FBT001
) -> tuple[float | None, int]:
    """Variance of the difference over repetitions, and how many there are; None: no repetitions."""
    a, b = ours.mean(axis=1), theirs.mean(axis=1)
    if paired and a.size == b.size > 1:
        return float((a - b).var(ddof=1)), a.size
    spreads = [float(means.var(ddof=1)) for means in (a, b) if means.size > 1]
    return (sum(spreads), max(a.size, b.size)) if spreads else (None, 1)
