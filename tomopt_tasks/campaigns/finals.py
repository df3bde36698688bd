"""What a search ends with: its best trials and the gradient alone, as an ordinary campaign."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any

from tomopt_tasks.campaigns.trials import Trial, trial_plan
from tomopt_tasks.config.axes import PointsAxis
from tomopt_tasks.config.campaign import DESIGN
from tomopt_tasks.config.members import LoadedCampaign, with_axes
from tomopt_tasks.config.trials import own_changes, restart_members, search_of
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import FITTED

ALONE = "gradient alone"
"""Point of the design that was found without a search."""


def restarts_of(campaign: LoadedCampaign, trials: Sequence[Trial]) -> list[Trial]:
    """Fits of the gradient alone that look at as many muons as the trials, or just more.

    Args:
        campaign: with a search.
        trials: all of them, ended.
    """
    first = Trial(1, {}, trial_plan(restart_members(campaign, 1)[0]))
    count = 1
    if search_of(campaign).restarts and first.plan is not None:
        study = first.plan.member.study
        epochs = sum(phase.total_epochs for phase in study.fit.phases)
        each = epochs * study.scenes.train.n_volumes * study.muons.per_volume
        count = max(1, ceil(sum(trial.muons for trial in trials) / each))
    members = restart_members(campaign, count)
    return [
        Trial(n, {"start": n}, trial_plan(replace(member, name=f"gradient alone {n}")))
        for n, member in enumerate(members, start=1)
    ]


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """The complete trial with the least error on the validation bank."""
    found = [(trial.error, trial.number, trial) for trial in trials if trial.error is not None]
    return min(found, key=lambda each: each[:2])[2] if found else None


def finalists(
    campaign: LoadedCampaign, trials: Sequence[Trial], front: Sequence[int]
) -> list[Trial]:
    """The trials that are judged on the test bank.

    With one objective the best ones; with two, those spread evenly over the front by their cost,
    the least error and the least cost among them.

    Raises:
        UserError: no trial is complete.
    """
    search = search_of(campaign)
    complete = [trial for trial in trials if trial.error is not None]
    if not complete:
        why = next((trial.note for trial in trials if trial.note), "all were given up")
        raise UserError(
            f"none of the {len(trials)} trials of {campaign.file} is complete (the first: {why}); "
            "mend search.space"
        )
    if len(search.objectives) == 1:
        ranked = sorted(complete, key=lambda trial: (trial.error, trial.number))
        return _without_twins(ranked)[: search.finalists]
    on_front = [trial for trial in complete if trial.number in front]
    ranked = _without_twins(sorted(on_front, key=lambda trial: (trial.error, trial.cost or 0.0)))
    if len(ranked) <= search.finalists:
        return ranked
    last = max(search.finalists - 1, 1)
    places = {round(i * (len(ranked) - 1) / last) for i in range(search.finalists)}
    return [ranked[place] for place in sorted(places)]


def _without_twins(trials: Sequence[Trial]) -> list[Trial]:
    """The first of those that proposed the same."""
    return list({trial.key: trial for trial in reversed(trials)}.values())[::-1]


def final_campaign(
    campaign: LoadedCampaign,
    trials: Sequence[Trial],
    front: Sequence[int],
    restarts: Sequence[Trial],
) -> LoadedCampaign:
    """The best trials and the best restart, repeated over the axes of the campaign.

    Args:
        campaign: with a search.
        trials: all of them, ended.
        front: numbers of those that no other is better than.
        restarts: fits of the gradient alone, ended.

    Raises:
        UserError: no trial is complete.
    """
    chosen = finalists(campaign, trials, front)
    alone = best_of(restarts)
    points: dict[str, Mapping[str, Any]] = {ALONE: _changes(alone, campaign) if alone else {}}
    for trial in chosen:
        # baselines are judged with the gradient alone; a trial may scale them to another area
        points[trial.name] = {**_changes(trial, campaign), "compare": [FITTED]}
    axis = PointsAxis(points={name: dict(changes) for name, changes in points.items()})
    return with_axes(campaign, {DESIGN: axis})


def _changes(trial: Trial, campaign: LoadedCampaign) -> dict[str, Any]:
    """What a trial changes besides the changes of all members and those of the axes."""
    assert trial.plan is not None
    axes = {place for axis in campaign.settings.axes.values() for place in _places(axis)}
    theirs = axes | set(campaign.settings.set)
    return {p: v for p, v in own_changes(trial.plan.member).items() if p not in theirs}


def _places(axis: Any) -> set[str]:  # noqa: ANN401 - any kind of axis
    return {place for point in axis.points.values() for place in point}
