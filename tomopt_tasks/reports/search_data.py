"""What a search found, and in words whether it was worth it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tomopt_tasks.reports.numbers import interval, rounded
from tomopt_tasks.reports.verdict import outcome_of

SAME_COST = 1e-3
"""Relative difference below which two detectors cost the same."""


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial, or one fit of the gradient alone."""

    number: int
    values: Mapping[str, Any]
    """What was chosen."""
    state: str
    """complete, pruned, failed or waiting."""
    error: float | None
    """MSE on the validation bank, in the unit of the target squared."""
    cost: float | None
    """Cost of all panels."""
    epochs: int
    muons: int
    """Training muons looked at, each as often as it was."""
    key: str
    """Digest of all that it depends on."""
    note: str = ""
    """Why it failed."""
    front: bool = False
    """Whether no other is better in all objectives."""
    judged: bool = False
    """Whether it was judged on the test bank."""


@dataclass(frozen=True, slots=True)
class Versus:
    """The best trial against the gradient alone, on the test bank."""

    trial: str
    alone: str
    pair: Mapping[str, Any]
    """Ratio of the errors with its 95 % interval."""
    seeds: int
    volumes: int
    costs: tuple[float, float]
    """Of the trial and of the gradient alone."""
    more: str = ""
    """What would separate a tie."""


@dataclass(frozen=True, slots=True)
class SearchData:
    """A search that has ended."""

    objectives: Sequence[str]
    trials: Sequence[TrialRow]
    alone: Sequence[TrialRow]
    """Fits without a search."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Sampler, seed, trials at once, version of Optuna."""
    versus: Versus | None = None
    """None: the search found no other design than the gradient alone."""


def search_sentence(data: SearchData) -> str:
    """How many trials there were, and whether they beat the gradient alone at equal muons."""
    count = {
        state: sum(row.state == state for row in data.trials) for state in ("pruned", "failed")
    }
    parts = [f"{count['pruned']} of them given up early"] if count["pruned"] else []
    parts += [f"{count['failed']} failed"] if count["failed"] else []
    repeats = len(data.trials) - len({row.key or row.number for row in data.trials})
    parts += [f"{repeats} repeats"] if repeats else []
    aside = f" ({', '.join(parts)})" if parts else ""
    if data.versus is None:
        return f"{len(data.trials)} trials{aside} found nothing but the start of the search."
    return f"{len(data.trials)} trials{aside}: {_compared(data, data.versus)}"


def _compared(data: SearchData, versus: Versus) -> str:
    pair, ratio = versus.pair, rounded(versus.pair["ratio"])
    over = f"{versus.volumes} test volumes"
    over += f" and {versus.seeds} seeds" if versus.seeds > 1 else ""
    found = {
        "better": "finds a better detector than the gradient alone",
        "worse": "finds a worse detector than the gradient alone",
        "tie": "finds no better detector than the gradient alone: a tie",
    }[outcome_of(pair)]
    more = f" ({versus.more})" if versus.more and outcome_of(pair) == "tie" else ""
    text = (
        f"{_muons(data)} the search {found}{more}. The error (MSE) of {versus.trial} is {ratio} "
        f"times that of {versus.alone} (95 % interval {interval(pair['low'], pair['high'])}, "
        f"paired over {over})."
    )
    ours, theirs = versus.costs
    if abs(ours / theirs - 1.0) > SAME_COST if theirs else ours != theirs:
        text += f" They do not cost the same: {rounded(ours)} and {rounded(theirs)}."
    return text


def _muons(data: SearchData) -> str:
    ours, theirs = (sum(row.muons for row in rows) for rows in (data.trials, data.alone))
    if theirs >= ours:
        fits = f"{len(data.alone)} fits from random detectors" if len(data.alone) > 1 else "one fit"
        return f"at equal muons ({_millions(ours)}, and {_millions(theirs)} in {fits}),"
    return f"with {_millions(ours)} training muons against {_millions(theirs)},"


def _millions(muons: int) -> str:
    return f"{rounded(muons / 1e6)} million"


def spell(value: Any) -> str:  # noqa: ANN401
    """A chosen value in few characters."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
