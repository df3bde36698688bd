"""Run a campaign: what is shared once, then members side by side."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tomopt_tasks.campaigns.manifest import recorded
from tomopt_tasks.campaigns.plan import CampaignPlan, MemberPlan, chains, look_up_all
from tomopt_tasks.campaigns.slots import UNHEARD, Crew, Heard, Job, Outcome, run_jobs, slots
from tomopt_tasks.campaigns.tables import make_tables
from tomopt_tasks.campaigns.work import make_stages, prepare, run_member
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


@dataclass
class CampaignRun:
    """What a campaign found and made."""

    plan: CampaignPlan
    refs: dict[str, Ref]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def executed(self) -> int:
        """Stages whose body ran."""
        return sum(int(each.result.get("executed", 0)) for each in self.outcomes.values())

    @property
    def failures(self) -> dict[str, str]:
        """Job -> why it has no result."""
        return {n: each.error for n, each in self.outcomes.items() if each.state != "done"}


Work = tuple[Callable[..., dict[str, Any]], tuple[Any, ...]]
"""A function of a module, and its arguments."""


def member_work(url: str, plan: MemberPlan) -> Work:
    """What has all results of a member."""
    return run_member, (url, plan)


def jobs_of(
    plan: CampaignPlan,
    refs: Mapping[str, Ref],
    url: str,
    work_of: Callable[[str, MemberPlan], Work] = member_work,
) -> list[Job]:
    """What is missing: each shared stage is a job, and the own stages of each member are one.

    Args:
        plan: the members.
        refs: see ``look_up_all``.
        url: of the store.
        work_of: what a member does, by the URL of the store.
    """
    kinds = {key: stage.kind for key, stage in plan.stages.items()}
    missing = {key: stage for key, stage in plan.shared.items() if key not in refs}
    jobs: list[Job] = []
    names: dict[str, str] = {}
    for chain in chains(missing, plan.users):
        name = _name(chain, plan.users[chain[-1].key])
        needed = [parent for stage in chain for parent in stage.parents.values()]
        after = frozenset(names[parent] for parent in needed if parent in names)
        given = {parent: kinds[parent] for parent in needed}
        jobs.append(Job(name, make_stages, (url, chain, given), after, _epochs(chain)))
        names |= {stage.key: name for stage in chain}
    for each in plan.members:
        own = [stage.key for stage in each.stages if stage.key not in plan.shared]
        if any(key not in refs for key in own):
            after = frozenset(names[stage.key] for stage in each.stages if stage.key in names)
            jobs.append(Job(each.name, *work_of(url, each), after, _epochs(each.stages)))
    return jobs


def _epochs(stages: Sequence[Stage]) -> tuple[str, ...]:
    return tuple(stage.key for stage in stages if stage.name == "fit_epoch")


def _name(chain: Sequence[Stage], users: Collection[str]) -> str:
    """What a job is called: what its members share, its stages, and the start of its last key."""
    first, last = chain[0].label, chain[-1].label
    label = first if len(chain) == 1 else f"{first} to {last}"
    some, *others = (name.split(",") for name in sorted(users))
    common = [part for part in some if all(part in other for other in others)]
    return f"{','.join(common)}{': ' if common else ''}{label} ({chain[-1].key[:8]})"


Where = int | str
"""Processes at a time on this machine, or the address of a standing Dask cluster."""


@contextmanager
def crew_of(where: Where) -> Iterator[Crew]:
    """Who does the jobs inside the block."""
    if isinstance(where, int):
        with slots(where, prepare) as found:
            yield found
        return
    from tomopt_tasks.campaigns.cluster import cluster  # noqa: PLC0415 - an extra

    with cluster(where, prepare) as found:
        yield found


def run_campaign(
    plan: CampaignPlan,
    store: Store,
    crew: Crew,
    heard: Heard = UNHEARD,
    *,
    shared_only: bool = False,
) -> CampaignRun:
    """Have all results of a campaign; a member that fails does not stop the others.

    Args:
        plan: the campaign, or some members of it.
        store: where results lie.
        crew: does what is missing; see ``crew_of``.
        heard: is told how jobs go on.
        shared_only: make what members share and no member.
    """
    make_tables(plan)  # refuses what cannot be compared, before anything runs
    run = CampaignRun(plan, look_up_all(plan, store))
    jobs = jobs_of(plan, run.refs, store.url)
    if shared_only:
        members = {each.name for each in plan.members}
        jobs = [job for job in jobs if job.name not in members]
    if jobs:
        with recorded(plan, store, run.outcomes):
            for outcome in run_jobs(jobs, crew, heard):
                run.outcomes[outcome.name] = outcome
                heard.ended(outcome, len(run.outcomes), len(jobs))
        run.refs = look_up_all(plan, store)
    return run
