"""Trials proposed by Optuna (ask and tell), and given up by its pruner.

Nothing is kept between two processes: what is proposed is a function of the settings and of how the
trials before it ended, and those are in the store. Every proposal has a generator of its own, named
by the seed and the number of the trial.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from tomopt_tasks.config.axes import PointsAxis, ValuesAxis
from tomopt_tasks.config.search import Prune, RangeSetting, Search, Setting

optuna.logging.set_verbosity(optuna.logging.WARNING)

Curve = Mapping[int, float]
"""Epochs so far -> training loss."""


class Proposer:
    """Proposes the values of trials, in the order of their numbers."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._space = {name: _distribution(entry) for name, entry in search.space.items()}
        self._study = optuna.create_study(directions=["minimize"] * len(search.objectives))
        self._asked: dict[int, Trial] = {}

    def ask(self) -> dict[str, Any]:
        """Values of the next trial; those before it that have not been told count as running."""
        number = len(self._study.trials)
        self._study.sampler = _sampler(self._search, number)
        self._asked[number] = self._study.ask(self._space)
        return dict(self._asked[number].params)

    def tell(self, number: int, values: Sequence[float] | None, curve: Curve, state: str) -> None:
        """How a trial ended.

        Args:
            number: of the trial, from 0.
            values: of the objectives; None if it has none.
            curve: its losses.
            state: ``complete``, ``pruned`` or ``failed``.
        """
        trial = self._asked.pop(number)
        if len(self._search.objectives) == 1:
            for epoch, loss in curve.items():
                trial.report(loss, epoch)
        found = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}
        told = found.get(state, TrialState.FAIL)
        self._study.tell(trial, values if told == TrialState.COMPLETE else None, state=told)

    def best(self) -> list[int]:
        """Numbers of the trials that no other is better than in all objectives."""
        return sorted(trial.number for trial in self._study.best_trials)


def _distribution(entry: Setting) -> BaseDistribution:
    if isinstance(entry, (ValuesAxis, PointsAxis)):
        return CategoricalDistribution(list(entry.points))
    if isinstance(entry, RangeSetting):
        return FloatDistribution(*entry.bounds, log=entry.log)
    return IntDistribution(*entry.bounds, step=entry.step)


def _sampler(search: Search, number: int) -> BaseSampler:
    name = f"{search.seed}/trial/{number}"
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    if search.sampler == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=search.startup)


class Pruner:
    """Says between two epochs whether a trial is given up."""

    def __init__(self, rule: Prune | None, earlier: Sequence[Curve]) -> None:
        """Compare with complete trials.

        Args:
            rule: when to give up; None: never.
            earlier: their losses.
        """
        self._rule = rule
        self._earlier = [dict(curve) for curve in earlier if curve]

    def prunes(self, curve: Curve) -> bool:
        """Whether a trial with these losses is given up."""
        rule = self._rule
        if rule is None or not curve:
            return False
        pruner = optuna.pruners.PercentilePruner(
            100.0 * rule.keep,
            n_startup_trials=rule.after_trials,
            n_warmup_steps=rule.after_epochs,
            interval_steps=rule.every,
        )
        study = optuna.create_study(pruner=pruner)
        study.add_trials([_complete(each) for each in self._earlier])
        trial = study.ask()
        for epoch, loss in curve.items():
            trial.report(loss, epoch)
        return bool(trial.should_prune())


def _complete(curve: Curve) -> FrozenTrial:
    return create_trial(value=curve[max(curve)], intermediate_values=dict(curve))
