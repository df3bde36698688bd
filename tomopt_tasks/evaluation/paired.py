"""Two designs on the same volumes: the ratio of their errors, and how sure we can be of it."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from jaxtyping import Float, Int

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.merit import stratified_se
from tomopt_tasks.rng import stream

Squares = Float[np.ndarray, " volume"]
Groups = Int[np.ndarray, " volume"]


@dataclass(frozen=True, slots=True)
class PairedRatio:
    """Mean squared error of one design over that of another, on the same volumes."""

    ratio: float
    low: float
    high: float
    """Ends of the interval; a tie is an interval that holds 1."""
    volumes_needed: int | None
    """Test volumes that would tell the two apart, were the measured difference the true one."""

    @property
    def tie(self) -> bool:
        """Whether these volumes cannot tell the two designs apart."""
        return self.low <= 1.0 <= self.high


def paired_ratio(
    ours: Squares, theirs: Squares, groups: Groups, generator: torch.Generator, *, draws: int = 2000
) -> PairedRatio:
    """Ratio of the mean squared errors with its 95 % interval, by a paired bootstrap over volumes.

    Both designs keep the same drawn volumes, and each stratum keeps its weight. Of a stratum of n,
    n - 1 are drawn with replacement, which makes the variance of the mean unbiased (McCarthy and
    Snowden 1985, "The bootstrap and finite population sampling"). The interval is that of the 2.5
    and 97.5 percentiles, and holds for the calibrations as they were fitted.

    Args:
        ours: squared errors of the design that is judged.
        theirs: squared errors of the one that it is judged against, on the same volumes.
        groups: stratum of each volume.
        generator: equal streams give equal intervals.
        draws: bootstrap replicates.
    """
    if theirs.mean() == 0.0:
        raise UserError(
            "the design to compare with has no error at all; a ratio to it means nothing"
        )
    means = _resampled_means(np.stack([ours, theirs]), groups, generator, draws)
    low, high = np.quantile(means[0] / means[1], [0.025, 0.975])
    return PairedRatio(
        ratio=float(ours.mean() / theirs.mean()),
        low=float(low),
        high=float(high),
        volumes_needed=volumes_to_separate(ours, theirs, groups),
    )


def _resampled_means(
    values: Float[np.ndarray, "design volume"], groups: Groups, rng: torch.Generator, draws: int
) -> Float[np.ndarray, "design draw"]:
    """Stratified bootstrap means, the same volumes for every design."""
    total = np.zeros((values.shape[0], draws))
    for group in np.unique(groups):
        inside = values[:, groups == group]
        n = inside.shape[1]
        if n == 1:
            total += inside
            continue
        chosen = torch.randint(n, (draws, n - 1), generator=rng).numpy()
        for design, row in enumerate(inside):
            total[design] += n * row[chosen].mean(axis=1)
    total /= values.shape[1]
    return total


def volumes_to_separate(
    ours: Squares, theirs: Squares, groups: Groups, *, power: float = 0.8
) -> int | None:
    """Test volumes needed to see the measured difference at 95 % confidence, with this power.

    Normal approximation: n = ((z_0.975 + z_power) s / d)^2 with d the mean difference of the
    squared errors and s its standard deviation within strata. None if there is no difference.
    """
    difference = ours - theirs
    mean = float(difference.mean())
    if mean == 0.0:
        return None
    spread = stratified_se(difference, groups) * math.sqrt(difference.size)
    z = NormalDist().inv_cdf(0.975) + NormalDist().inv_cdf(power)
    return max(2, math.ceil((z * spread / mean) ** 2))


def bootstrap_stream(seed: int) -> torch.Generator:
    """The one stream of bootstrap draws: every pair of designs meets the same resamples."""
    return stream(seed, "evaluate", "bootstrap")
