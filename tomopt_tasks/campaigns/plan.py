"""The plan of a campaign: the plans of its members, with what they share found by equal keys."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from tomopt_tasks.caching.keys import digest
from tomopt_tasks.config.members import LoadedCampaign, Member
from tomopt_tasks.planning.accept import accept, descendants
from tomopt_tasks.planning.history import History
from tomopt_tasks.planning.lookup import stopped
from tomopt_tasks.planning.plan import Stage, plan_study
from tomopt_tasks.runs.manifest import run_id
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class MemberPlan:
    """A member with its stages."""

    member: Member
    stages: Sequence[Stage]
    run: str
    """Id of its run."""
    accepts: bool = False
    """Whether stored results of older code were asked for where there are no others."""

    @property
    def name(self) -> str:
        """Name of the member."""
        return self.member.name


@dataclass(frozen=True)
class CampaignPlan:
    """All members, planned; nothing has been looked up."""

    campaign: LoadedCampaign
    members: tuple[MemberPlan, ...]
    run: str
    """Id of the manifest of the campaign."""

    @cached_property
    def stages(self) -> Mapping[str, Stage]:
        """Key -> stage: each stage once, in an order in which they can run."""
        return {stage.key: stage for plan in self.members for stage in plan.stages}

    @cached_property
    def users(self) -> Mapping[str, frozenset[str]]:
        """Key -> names of the members that need the stage."""
        found: dict[str, set[str]] = {}
        for plan in self.members:
            for stage in plan.stages:
                found.setdefault(stage.key, set()).add(plan.name)
        return {key: frozenset(names) for key, names in found.items()}

    @cached_property
    def shared(self) -> Mapping[str, Stage]:
        """Those stages that several members need."""
        return {key: stage for key, stage in self.stages.items() if len(self.users[key]) > 1}

    @cached_property
    def older(self) -> frozenset[str]:
        """Keys of what hangs on accepted results of older code."""
        parents = {key: stage.parents.values() for key, stage in self.stages.items()}
        roots = {key for key, stage in self.stages.items() if stage.older}
        return frozenset(descendants(parents, roots))

    def needed(self, names: Sequence[str]) -> "CampaignPlan":
        """The plan of some members; what they share with the others stays shared."""
        members = tuple(plan for plan in self.members if plan.name in names)
        part = CampaignPlan(self.campaign, members, self.run)
        part.__dict__["users"] = {key: self.users[key] for key in part.stages}
        return part


def chains(stages: Mapping[str, Stage], users: Mapping[str, frozenset[str]]) -> list[list[Stage]]:
    """Stages in order, epochs that follow each other and have the same users taken together.

    Args:
        stages: key -> stage, parents first.
        users: see ``CampaignPlan``.
    """
    by_tail: dict[str, list[Stage]] = {}
    found: list[list[Stage]] = []
    for key, stage in stages.items():
        before = stage.parents.get("checkpoint", "") if stage.name == "fit_epoch" else ""
        chain = by_tail.get(before)
        if chain is not None and users[before] == users[key]:
            chain.append(stage)
            by_tail[key] = by_tail.pop(before)
        else:
            found.append([stage])
            if stage.name == "fit_epoch":
                by_tail[key] = found[-1]
    return found


def plan_member(member: Member, older: Store | None = None) -> Sequence[Stage]:
    """The stages of a member; see ``plan_campaign``."""
    stages = plan_study(member.study)
    return stages if older is None else accept(stages, older, History(older, member.study.study))


def plan_campaign(campaign: LoadedCampaign, older: Store | None = None) -> CampaignPlan:
    """Plan every member of a valid campaign.

    Args:
        campaign: with its members.
        older: where to take results of older code from; None: they are not asked for.
    """
    plans = []
    for member in campaign.members:
        stages = plan_member(member, older)
        run = run_id(member.study, stages)
        plans.append(MemberPlan(member, stages, run, accepts=older is not None))
    work = digest([each.run for each in plans])[:8]
    return CampaignPlan(campaign, tuple(plans), f"campaign.{campaign.settings.campaign}-{work}")


def look_up_all(plan: CampaignPlan, store: Store | None) -> dict[str, Ref]:
    """Key -> verified result of every stage that has one."""
    refs: dict[str, Ref] = {}
    if store is None:
        return refs
    for key, stage in plan.stages.items():
        ref = stopped(stage, refs) or store.find(stage.kind, key)
        if ref is not None:
            refs[key] = ref
    return refs


def complete(plan: MemberPlan, refs: Mapping[str, Ref]) -> bool:
    """Whether all results of a member are stored."""
    return all(stage.key in refs for stage in plan.stages)
