"""Many designs on one test bank, some of them repeated over seeds: who is better, and how sure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.exposure import seconds_to_reach
from tomopt_tasks.evaluation.merit import target_groups
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.evaluation.record import design_record, squared_errors, with_best_cut
from tomopt_tasks.evaluation.resample import Resamples, percentiles
from tomopt_tasks.evaluation.separate import needed_to_separate
from tomopt_tasks.evaluation.settings import EvaluationSettings

Pair = tuple[Predictions, Predictions]
"""What a design made of the calibration bank and of the test bank."""


@dataclass(frozen=True)
class Entry:
    """A design, or a fit that was repeated."""

    repeats: Mapping[str, Pair]
    """Label (of the seed, say) -> predictions; one label if nothing was repeated."""
    baseline: bool = False

    def judged_by(self, settings: EvaluationSettings) -> "Entry":
        """The same with the targets and the cuts in software that it is judged by."""
        step = settings.target_floor
        repeats = {
            label: with_best_cut(valid.floored(step), test.floored(step), settings)
            for label, (valid, test) in self.repeats.items()
        }
        return Entry(repeats, self.baseline)


def compare(entries: Mapping[str, Entry], settings: EvaluationSettings) -> dict[str, Any]:
    """Judge entries on one test bank, each repetition with a calibration of its own.

    The reference is the baseline with the least error on the test bank, a choice that favours the
    baselines; without baselines it is the entry with the least error.

    Args:
        entries: name -> predictions, in the order of the tables.
        settings: correction, bootstrap and its seed.

    Returns:
        A tree of JSON types: "reference"; "n_volumes"; "entries", name -> pooled figures,
        "repeats" and "exposure" (see ``_entry``); "board", the entries from best to worst, ties
        with equal rank.
    """
    entries = {name: entry.judged_by(settings) for name, entry in entries.items()}
    _check(entries)
    squares = {
        name: np.stack([squared_errors(*pair, settings) for pair in entry.repeats.values()])
        for name, entry in entries.items()
    }
    mse = {name: float(values.mean()) for name, values in squares.items()}
    baselines = [name for name, entry in entries.items() if entry.baseline]
    reference = min(baselines or mse, key=mse.__getitem__)
    if mse[reference] == 0.0:
        raise UserError(f"{reference} has no error at all; a ratio to it means nothing")
    judge = _Judge(entries, squares, reference, settings)
    return {
        "reference": reference,
        "baselines": baselines,
        "n_volumes": int(squares[reference].shape[1]),
        "entries": {name: judge.entry(name) for name in entries},
        "board": judge.board(),
    }


def _check(entries: Mapping[str, Entry]) -> None:
    pairs = [(name, test) for name, entry in entries.items() for _, test in entry.repeats.values()]
    if not pairs:
        raise UserError("nothing to compare: no design has predictions")
    first, truth = pairs[0][0], pairs[0][1].truth
    for name, test in pairs:
        if not np.array_equal(test.truth, truth):
            raise UserError(
                f"{first!r} and {name!r} were tested on other volumes; a paired comparison needs "
                "one test bank for all"
            )


class _Judge:
    def __init__(
        self,
        entries: Mapping[str, Entry],
        squares: Mapping[str, np.ndarray],
        reference: str,
        settings: EvaluationSettings,
    ) -> None:
        self.entries = entries
        self.squares = squares
        self.reference = reference
        self.settings = settings
        _, test = next(iter(entries[reference].repeats.values()))
        self.groups = target_groups(test.truth)
        resamples = Resamples(self.groups, settings.seed, settings.bootstrap)
        self.draws = {
            name: resamples.means(values, list(entries[name].repeats))
            for name, values in squares.items()
        }
        self.best = min(float(values.mean(axis=1).min()) for values in squares.values())

    def entry(self, name: str) -> dict[str, Any]:
        """Pooled figures of one entry, those of each repetition, and the mean exposure curve."""
        means = self.squares[name].mean(axis=1)
        low, high = percentiles(self.draws[name][0])
        repeats = [self._repeat(name, index) for index in range(means.size)]
        curve = _mean_curve([repeat["exposure"] for repeat in repeats])
        theirs = float(self.squares[self.reference].mean())
        return {
            "baseline": self.entries[name].baseline,
            "mse": float(means.mean()),
            "low": low,
            "high": high,
            "spread": float(means.std(ddof=1)) if means.size > 1 else None,
            "against": self.pair(name, self.reference),
            "wins": sum(repeat["against"]["high"] < 1 for repeat in repeats),
            "smaller": sum(repeat["against"]["ratio"] < 1 for repeat in repeats),
            "exposure": curve,
            "seconds_to_reference": seconds_to_reach(curve, theirs),
            "repeats": repeats,
        }

    def _repeat(self, name: str, index: int) -> dict[str, Any]:
        """One repetition: its figures, and its ratio to the reference over volumes alone."""
        label, (valid, test) = list(self.entries[name].repeats.items())[index]
        figures = design_record(valid, test, self.settings)
        ratio = figures["mse"] / float(self.squares[self.reference].mean())
        low, high = percentiles(self.draws[name][1][index] / self.draws[self.reference][0])
        return {
            "label": label,
            **figures,
            "valid_mse": float(squared_errors(valid, valid, self.settings).mean()),
            "against": {"ratio": ratio, "low": low, "high": high},
            "regret": figures["mse"] / self.best - 1.0,
        }

    def pair(self, name: str, other: str) -> dict[str, Any]:
        """Ratio of the errors of two entries, over volumes and repetitions."""
        low, high = percentiles(self.draws[name][0] / self.draws[other][0])
        ratio = float(self.squares[name].mean() / self.squares[other].mean())
        return {"name": other, "ratio": ratio, "low": low, "high": high}

    def board(self) -> list[dict[str, Any]]:
        """From best to worst. Who cannot be told from the first of a rank shares that rank."""
        order = sorted(self.squares, key=lambda name: float(self.squares[name].mean()))
        rows: list[dict[str, Any]] = []
        leader, rank = order[0], 1
        for place, name in enumerate(order, start=1):
            pair = self.pair(name, leader)
            if name != leader and pair["low"] > 1:
                leader, rank, pair = name, place, self.pair(name, name)
            row = {"rank": rank, "name": name, "leader": leader, "to_leader": pair}
            rows.append(row | self._tie(name, leader))
        tied = [row["rank"] for row in rows]
        return [row | {"tie": tied.count(row["rank"]) > 1} for row in rows]

    def _tie(self, name: str, leader: str) -> dict[str, int | None]:
        """How much more of what would separate a design from the leader of its rank."""
        if name == leader:
            return {"more_seeds": None, "more_volumes": None}
        ours, theirs = self.squares[name], self.squares[leader]
        paired = list(self.entries[name].repeats) == list(self.entries[leader].repeats)
        needed = needed_to_separate(ours, theirs, self.groups, paired=paired)
        have = max(len(ours), len(theirs))
        return {
            "more_seeds": None if needed.seeds is None else max(1, needed.seeds - have),
            "more_volumes": None
            if needed.volumes is None
            else max(1, needed.volumes - ours.shape[1]),
        }


def _mean_curve(curves: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The mean of exposure curves at equal exposures; the standard error is over repetitions."""
    rows = []
    for points in zip(*curves, strict=True):
        mse = np.array([point["mse"] for point in points])
        error = points[0]["mse_se"] if mse.size == 1 else mse.std(ddof=1) / np.sqrt(mse.size)
        parts = ("seconds", "mse", "bias2", "variance", "n_empty")
        row = {part: float(np.mean([point[part] for point in points])) for part in parts}
        rows.append({"n_muons": points[0]["n_muons"], **row, "mse_se": float(error)})
    return rows
