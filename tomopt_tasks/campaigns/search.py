"""A search: trials in batches, each told how the ones before it ended, then the final comparison.

The store is the only memory. A search that was killed asks the same questions again from the first
trial on; what is stored answers them, and what is not runs.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from tomopt_tasks.caching.keys import digest
from tomopt_tasks.campaigns.finals import final_campaign, restarts_of
from tomopt_tasks.campaigns.manifest import recorded
from tomopt_tasks.campaigns.plan import CampaignPlan, MemberPlan, look_up_all, plan_campaign
from tomopt_tasks.campaigns.proposals import Proposer, Pruner
from tomopt_tasks.campaigns.run import (
    CampaignRun,
    Work,
    jobs_of,
    run_campaign,
)
from tomopt_tasks.campaigns.slots import UNHEARD, Crew, Heard, Outcome, run_jobs
from tomopt_tasks.campaigns.trials import (
    Trial,
    failed,
    invalid,
    read_ending,
    run_trial,
    trial_plan,
)
from tomopt_tasks.config.members import LoadedCampaign
from tomopt_tasks.config.trials import probe, search_of, trial_member
from tomopt_tasks.core import UserError
from tomopt_tasks.store.store import Store


@dataclass
class SearchRun:
    """How far a search is, and how it got there."""

    campaign: LoadedCampaign
    plan: CampaignPlan
    """The base of the trials; its run is that of the search."""
    trials: list[Trial] = field(default_factory=list)
    """Those that have ended, in order; then those that would run next."""
    restarts: list[Trial] = field(default_factory=list)
    """Fits of the gradient alone."""
    final: CampaignRun | None = None
    """The comparison of what was found; None: the search is not that far."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    front: list[int] = field(default_factory=list)
    """Numbers of the trials that no other is better than in all objectives."""

    @property
    def ended(self) -> list[Trial]:
        """Trials that have ended."""
        return [trial for trial in self.trials if trial.state != "waiting"]

    @property
    def complete(self) -> bool:
        """Whether all trials and restarts have ended."""
        searched = len(self.ended) == search_of(self.campaign).trials
        return searched and all(trial.state != "waiting" for trial in self.restarts)

    @property
    def executed(self) -> int:
        """Stages whose body ran."""
        ran = sum(int(each.result.get("executed", 0)) for each in self.outcomes.values())
        return ran + (self.final.executed if self.final else 0)

    @property
    def failures(self) -> dict[str, str]:
        """Job -> why it has no result."""
        found = {n: each.error for n, each in self.outcomes.items() if each.state != "done"}
        return found | (self.final.failures if self.final else {})


def plan_search(campaign: LoadedCampaign) -> SearchRun:
    """A search of which nothing has been looked up.

    Raises:
        UserError: the space holds what is no valid study.
    """
    probe(campaign)
    base = plan_campaign(replace(campaign, members=campaign.members[:1]))
    search = search_of(campaign).model_dump(mode="json")
    parts = [search, campaign.settings.model_dump(mode="json")["axes"], base.members[0].run]
    run = f"campaign.{campaign.settings.campaign}-{digest(parts)[:8]}"
    return SearchRun(campaign, replace(base, run=run))


def look_up_search(campaign: LoadedCampaign, store: Store | None) -> SearchRun:
    """How far a search is; nothing runs."""
    found = plan_search(campaign)
    _go(found, _Reader(found, store))
    if found.complete and store is not None:
        plan = final_plan(found)
        found.final = CampaignRun(plan, look_up_all(plan, store))
    return found


def run_search(
    campaign: LoadedCampaign, store: Store, crew: Crew, heard: Heard = UNHEARD
) -> SearchRun:
    """Have all trials, the fits of the gradient alone, and the comparison of both.

    Args:
        campaign: with a search.
        store: where results lie.
        crew: does what is missing; results do not depend on it.
        heard: is told how jobs go on.

    Raises:
        UserError: no trial is complete.
    """
    found = plan_search(campaign)
    with ExitStack() as stack:
        _go(found, _Runner(found, store, crew, heard, stack))
    if found.complete:
        found.final = run_campaign(final_plan(found), store, crew, heard)
    return found


def final_plan(found: SearchRun) -> CampaignPlan:
    """The comparison of what was found with the gradient alone, under the run of the search.

    Raises:
        UserError: no trial is complete.
    """
    final = final_campaign(found.campaign, found.trials, found.front, found.restarts)
    return replace(plan_campaign(final), run=found.plan.run)


Have = Callable[[Sequence[Trial], Pruner], list[Trial]]
"""Ends trials, or leaves some waiting."""


def _go(found: SearchRun, have: Have) -> None:
    """Walk along the search as far as it goes."""
    search = search_of(found.campaign)
    proposer = Proposer(search)
    while len(found.ended) < search.trials:
        numbers = range(len(found.trials), min(len(found.trials) + search.together, search.trials))
        pruner = Pruner(
            search.prune, [trial.curve for trial in found.trials if trial.state == "complete"]
        )
        batch = have([_proposed(found.campaign, proposer, n) for n in numbers], pruner)
        found.trials += batch
        if any(trial.state == "waiting" for trial in batch):
            break
        for trial in batch:
            values = trial.objectives(search.objectives)
            proposer.tell(trial.number - 1, values, trial.curve, trial.state)
    found.front = [number + 1 for number in proposer.best()] if found.ended else []
    if len(found.ended) == search.trials:
        found.restarts = have(restarts_of(found.campaign, found.trials), Pruner(None, []))


def _proposed(campaign: LoadedCampaign, proposer: Proposer, number: int) -> Trial:
    values = proposer.ask()
    name = f"trial {number + 1}"
    try:
        plan = trial_plan(trial_member(campaign, name, values))
    except UserError as error:
        return invalid(number + 1, values, error)
    return Trial(number + 1, values, plan)


class _Reader:
    """Ends trials by what is stored."""

    def __init__(self, found: SearchRun, store: Store | None) -> None:
        self.found = found
        self.store = store

    def __call__(self, batch: Sequence[Trial], pruner: Pruner) -> list[Trial]:
        return [self.read(trial, pruner) for trial in batch]

    def read(self, trial: Trial, pruner: Pruner) -> Trial:
        """The trial as it is stored."""
        if trial.plan is None or trial.state != "waiting" or self.store is None:
            return trial
        return replace(trial, **(read_ending(trial, self.store, pruner) or {}))


class _Runner:
    """Ends trials by running what is missing."""

    def __init__(
        self,
        found: SearchRun,
        store: Store,
        crew: Crew,
        heard: Heard,
        stack: ExitStack,
    ) -> None:
        self.found = found
        self.store = store
        self.crew = crew
        self.heard = heard
        self.stack = stack
        self.reader = _Reader(found, store)

    def __call__(self, batch: Sequence[Trial], pruner: Pruner) -> list[Trial]:
        batch = self.reader(batch, pruner)
        plans = [each.plan for each in batch if each.state == "waiting" and each.plan is not None]
        if not plans:
            return list(batch)
        why = self._run(replace(self.found.plan, members=tuple(plans)), pruner)
        ended = (self.reader.read(trial, pruner) for trial in batch)
        return [
            replace(trial, **failed(trial, why.get(_job(trial), "it has no result; run again")))
            if trial.state == "waiting"
            else trial
            for trial in ended
        ]

    def _run(self, plan: CampaignPlan, pruner: Pruner) -> dict[str, str]:
        """Run trials; job -> why it failed."""

        def work_of(url: str, each: MemberPlan) -> Work:
            return run_trial, (url, each, pruner)

        jobs = jobs_of(plan, look_up_all(plan, self.store), self.store.url, work_of)
        if not self.found.outcomes:
            self.stack.enter_context(recorded(self.found.plan, self.store, self.found.outcomes))
        why = {}
        for n, outcome in enumerate(run_jobs(jobs, self.crew, self.heard), start=1):
            self.found.outcomes[outcome.name] = outcome
            why[outcome.name] = outcome.error
            self.heard.ended(outcome, n, len(jobs))
        return why


def _job(trial: Trial) -> str:
    return trial.plan.name if trial.plan is not None else ""
