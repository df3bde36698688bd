"""The one door to a campaign, listed or searched: for the command line and for the flow."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from tomopt_tasks.campaigns import search_show, show
from tomopt_tasks.campaigns.outputs import Finished, finish
from tomopt_tasks.campaigns.plan import CampaignPlan, look_up_all, plan_campaign
from tomopt_tasks.campaigns.run import CampaignRun, Where, crew_of, run_campaign
from tomopt_tasks.campaigns.search import SearchRun, look_up_search, plan_search, run_search
from tomopt_tasks.campaigns.search_results import search_data
from tomopt_tasks.campaigns.slots import UNHEARD, Heard, cores
from tomopt_tasks.campaigns.state import member_states
from tomopt_tasks.campaigns.why import reasons
from tomopt_tasks.config.members import LoadedCampaign
from tomopt_tasks.core import UserError
from tomopt_tasks.reports.text import Answer
from tomopt_tasks.runs.notify import send
from tomopt_tasks.store.store import Store


def where(jobs: int | None = None, dask: str | None = None) -> Where:
    """Where jobs run: on a cluster if one is named, here or by ``TOMOPT_DASK``; else on the cores.

    Args:
        jobs: members at a time on this machine; None: as many as there are cores.
        dask: address of a scheduler; None: as the environment says, unless ``jobs`` are given.

    Raises:
        UserError: both are given.
    """
    if jobs is not None and dask:
        raise UserError(
            "--jobs: a cluster runs as many jobs as it has workers; leave out --jobs or --dask"
        )
    return jobs or dask or os.environ.get("TOMOPT_DASK") or cores()


@dataclass(frozen=True)
class Part:
    """Of a campaign, what is to be done."""

    members: tuple[str, ...] = ()
    """Names; empty: all."""
    shared: bool = False
    """Only what members share."""
    accept_code: bool = False
    """Take stored results of older code, too."""


WHOLE = Part()


@dataclass(frozen=True)
class Done:
    """A campaign as far as it is."""

    store: Store
    run: CampaignRun | None
    """Its members; None: a search that has not found them yet."""
    search: SearchRun | None = None
    """How they were found; None: they are listed."""

    @property
    def failures(self) -> Mapping[str, str]:
        """Job -> why it has no result."""
        found = self.search or self.run
        return found.failures if found is not None else {}

    @property
    def executed(self) -> int:
        """Stages whose body ran."""
        found = self.search or self.run
        return found.executed if found is not None else 0

    def said(self) -> str:
        """How it ended, in a sentence."""
        if self.failures:
            names = ", ".join(list(self.failures)[:3])
            return f"{len(self.failures)} jobs did not finish ({names}); run again to go on"
        return "finished"

    def answer(self) -> Answer:
        """Everything that there is to say; writes the report."""
        if self.search is not None:
            return search_show.ended(self.search, self.store)
        assert self.run is not None
        return show.result(self.run.plan, self.store, self.run)

    def finish(self) -> Finished:
        """Compare what is complete and write the report.

        Raises:
            UserError: no member is complete, or a search is not.
        """
        if self.run is None:
            raise UserError("the search is not complete; run it again to go on")
        data = search_data(self.search, self.store) if self.search is not None else None
        return finish(self.run.plan, self.store, self.run.refs, data)


def tell(campaign: LoadedCampaign, words: str, *, failed: bool) -> None:
    """Send the message that the base study asks for, where there is no Prefect.

    Args:
        campaign: the campaign.
        words: how it ended.
        failed: whether something has no result.
    """
    facts = {"campaign": campaign.settings.campaign}
    settings = campaign.members[0].study.notify
    if settings is not None:
        send(settings, "failed" if failed else "finished", run_name(campaign), words, facts)


def run_name(campaign: LoadedCampaign) -> str:
    """Id of the run that a campaign, or its search, is recorded under."""
    if campaign.settings.search is not None:
        return plan_search(campaign).plan.run
    return plan_campaign(campaign).run


def carry_out(
    campaign: LoadedCampaign,
    store: Store,
    place: Where,
    heard: Heard = UNHEARD,
    part: Part = WHOLE,
) -> Done:
    """Have all results of a campaign, or of a part of it.

    Args:
        campaign: what to do.
        store: where results lie.
        place: see ``where``.
        heard: is told how jobs go on.
        part: what of it.

    Raises:
        UserError: there is no such member.
    """
    if campaign.settings.search is not None:
        _refuse(part)
        with crew_of(place) as crew:
            found = run_search(campaign, store, crew, heard)
        return Done(store, found.final, found)
    plan = _part(plan_campaign(campaign, store if part.accept_code else None), part)
    with crew_of(place) as crew:
        return Done(store, run_campaign(plan, store, crew, heard, shared_only=part.shared))


def _part(plan: CampaignPlan, part: Part) -> CampaignPlan:
    names = [each.name for each in plan.members]
    for name in part.members:
        if name not in names:
            raise UserError(
                f"--member {name}: there is no such member; the first are {', '.join(names[:3])} "
                "(tomopt campaign plan FILE lists all)"
            )
    return plan.needed(part.members) if part.members else plan


def _refuse(part: Part) -> None:
    if part.accept_code:
        raise UserError(
            "--accept-code-changes: a search proposes by what its trials gave, so that results of "
            "older code would change which trials there are; leave it out"
        )
    if part != WHOLE:
        raise UserError("--member, --shared: a search has no list of members; leave it out")


def look_up(campaign: LoadedCampaign, store: Store, part: Part = WHOLE) -> Done:
    """A campaign as far as it is stored; nothing runs."""
    if campaign.settings.search is not None:
        _refuse(part)
        found = look_up_search(campaign, store)
        return Done(store, found.final, found)
    plan = plan_campaign(campaign, store if part.accept_code else None)
    return Done(store, CampaignRun(plan, look_up_all(plan, store)))


def planned(campaign: LoadedCampaign, store: Store | None, part: Part = WHOLE) -> Answer:
    """What is stored, what would run, and why."""
    if campaign.settings.search is not None:
        _refuse(part)
        return search_show.planned(look_up_search(campaign, store))
    plan = plan_campaign(campaign, store if part.accept_code else None)
    refs = look_up_all(plan, store)
    return show.planned(plan, refs, reasons(plan, refs, store))


def standing(campaign: LoadedCampaign, store: Store | None, part: Part = WHOLE) -> Answer:
    """How far each member, or trial, is."""
    if campaign.settings.search is not None:
        _refuse(part)
        return search_show.standing(look_up_search(campaign, store))
    plan = plan_campaign(campaign, store if part.accept_code else None)
    return show.standing(member_states(plan, look_up_all(plan, store), store))
