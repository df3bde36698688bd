"""Two-level bootstrap: volumes within their strata, and repetitions of a fit."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int

from tomopt_tasks.evaluation.paired import bootstrap_stream

Draws = Float[np.ndarray, " draw"]


class Resamples:
    """The resamples that every mean of one comparison shares, so that differences are paired.

    Of n volumes of a stratum, and of n repetitions, n - 1 are drawn with replacement, which makes
    the variance of a mean unbiased (McCarthy and Snowden 1985). Designs that were repeated under
    the same labels (seeds) keep the same drawn labels.

    Args:
        groups: stratum of each volume.
        seed: names the random stream.
        draws: number of resamples.
    """

    def __init__(self, groups: Int[np.ndarray, " volume"], seed: int, draws: int) -> None:
        self.draws = draws
        self._rng = bootstrap_stream(seed)
        self._volumes = self._volume_weights(groups)
        self._labels: dict[tuple[str, ...], Float[np.ndarray, "draw label"]] = {}

    def means(
        self, squares: Float[np.ndarray, "label volume"], labels: Sequence[str]
    ) -> tuple[Draws, Float[np.ndarray, "label draw"]]:
        """Resampled mean over volumes and repetitions; and of each repetition over volumes alone.

        Args:
            squares: squared errors, one row a repetition.
            labels: what the repetitions are called.
        """
        each = squares @ self._volumes.T
        if len(labels) == 1:
            return each[0], each
        return (self._label_weights(tuple(labels)) * each.T).sum(axis=1), each

    def _volume_weights(
        self, groups: Int[np.ndarray, " volume"]
    ) -> Float[np.ndarray, "draw volume"]:
        weights = np.zeros((self.draws, groups.size))
        for group in np.unique(groups):
            inside = np.flatnonzero(groups == group)
            weights[:, inside] = inside.size / groups.size * self._shares(inside.size)
        return weights

    def _label_weights(self, labels: tuple[str, ...]) -> Float[np.ndarray, "draw label"]:
        if labels not in self._labels:
            self._labels[labels] = self._shares(len(labels))
        return self._labels[labels]

    def _shares(self, n: int) -> Float[np.ndarray, "draw item"]:
        """How often each of n items is drawn, as shares that sum to 1."""
        if n == 1:
            return np.ones((self.draws, 1))
        chosen = torch.randint(n, (self.draws, n - 1), generator=self._rng).numpy()
        counts = np.zeros((self.draws, n))
        np.add.at(counts, (np.arange(self.draws)[:, None], chosen), 1.0)
        return counts / (n - 1)


def percentiles(draws: Draws) -> tuple[float, float]:
    """Ends of the 95 % interval."""
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)
