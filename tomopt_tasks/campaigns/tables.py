"""Which designs of a campaign are compared with which: one table for every point that is apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.campaigns.plan import CampaignPlan, MemberPlan
from tomopt_tasks.core import Config, UserError
from tomopt_tasks.evaluation.settings import EvaluationSettings
from tomopt_tasks.planning.inputs import EvaluateInputs, PredictInputs
from tomopt_tasks.planning.plan import FITTED, Stage

Scores = tuple[str, str]
"""Keys of the predictions of a design for the calibration bank and the test bank."""

ONCE = "-"
"""Label of what was not repeated."""


class EntryInputs(Config):
    """A design of a table."""

    name: str
    baseline: bool
    """Whether it may be the reference."""
    repeats: tuple[str, ...]
    """Labels of its repetitions."""


class CompareInputs(Config):
    """Reads of ``compare_members``; parents: ``<split>/<entry>/<repeat>``."""

    evaluation: EvaluationSettings
    """How designs are judged."""
    entries: tuple[EntryInputs, ...]
    """In the order of the tables."""


@dataclass(frozen=True)
class Table:
    """Designs that are compared with each other."""

    label: str
    """Points of the axes that are apart; empty: there is one table."""
    inputs: CompareInputs
    parents: Mapping[str, str]
    """Role -> key of the predictions."""
    plans: tuple[MemberPlan, ...]
    sources: Mapping[tuple[str, str], MemberPlan]
    """(entry, repeat) -> the member that it comes from."""


def make_tables(plan: CampaignPlan, members: Sequence[MemberPlan] | None = None) -> list[Table]:
    """The tables of a campaign.

    Args:
        plan: the campaign.
        members: those that are complete; default: all.

    Raises:
        UserError: members that would share a table are judged on different banks or in different
            ways.
    """
    _check(plan)
    groups: dict[str, list[MemberPlan]] = {}
    for each in plan.members if members is None else members:
        groups.setdefault(_label(each, plan.campaign.settings.judge.apart), []).append(each)
    return [_table(label, plans, plan) for label, plans in groups.items()]


def _label(plan: MemberPlan, axes: Iterable[str]) -> str:
    return ", ".join(plan.member.point[axis] for axis in axes)


def _check(plan: CampaignPlan) -> None:
    """Whatever shares a table has the same banks, inference and way of judging."""
    first: dict[str, MemberPlan] = {}
    apart = plan.campaign.settings.judge.apart
    for each in plan.members:
        other = first.setdefault(_label(each, apart), each)
        ours, theirs = _ways(each), _ways(other)
        for what, value in ours.items():
            if value != theirs[what]:
                point, point2 = each.member.point, other.member.point
                axes = [name for name in point if point[name] != point2[name]]
                raise UserError(
                    f"judge.apart: members {other.name} and {each.name} would be compared, but "
                    f"have {what}; put {' or '.join(axes) or 'an axis'} into judge.apart "
                    f"({plan.campaign.file})"
                )


def _ways(plan: MemberPlan) -> dict[str, Any]:
    stages = {stage.label: stage for stage in plan.stages}
    return {
        "other test objects or muons": stages["test bank"].key,
        "other validation objects or muons": stages["valid bank"].key,
        "another inference or acceptance": plan.member.study.inference,
        "other settings under evaluation": plan.member.study.evaluation,
    }


def _table(label: str, plans: Sequence[MemberPlan], plan: CampaignPlan) -> Table:
    settings = plan.campaign.settings
    apart, pooled = settings.judge.apart, settings.pooled
    arms = [axis for axis in settings.axes if axis not in (*apart, *pooled)]
    entries: list[EntryInputs] = []
    parents: dict[str, str] = {}
    sources: dict[tuple[str, str], MemberPlan] = {}
    for design in dict.fromkeys(name for each in plans for name in each.member.study.compare):
        for name, repeats in _entries(design, plans, arms, pooled).items():
            baseline = all(design in each.member.study.baselines for each, _ in repeats.values())
            labels = tuple(repeats)
            entries.append(EntryInputs(name=name, baseline=baseline, repeats=labels))
            for repeat, (each, scores) in repeats.items():
                sources[name, repeat] = each
                for split, key in zip(("valid", "test"), scores, strict=True):
                    parents[f"{split}/{name}/{repeat}"] = key
    evaluation = plans[0].member.study.evaluation
    inputs = CompareInputs(evaluation=evaluation, entries=tuple(entries))
    return Table(label, inputs, parents, tuple(plans), sources)


Repeats = dict[str, tuple[MemberPlan, Scores]]


def _entries(
    design: str, plans: Sequence[MemberPlan], arms: Sequence[str], pooled: Sequence[str]
) -> dict[str, Repeats]:
    """Name -> repetitions of one design: what has equal predictions everywhere comes once."""
    by_arm: dict[tuple[str, ...], Repeats] = {}
    for each in plans:
        if design in each.member.study.compare:
            arm = tuple(each.member.point[axis] for axis in arms)
            repeat = " ".join(each.member.point[axis] for axis in pooled) or ONCE
            by_arm.setdefault(arm, {})[repeat] = (each, _scores(each, design))
    found = {arm: _once(design, repeats) for arm, repeats in by_arm.items()}
    kinds: dict[tuple[tuple[str, Scores], ...], list[tuple[str, ...]]] = {}
    for arm, repeats in found.items():
        same = tuple((label, scores) for label, (_, scores) in repeats.items())
        kinds.setdefault(same, []).append(arm)
    varies = [i for i in range(len(arms)) if len({arm[i] for arm in found}) > 1]
    entries: dict[str, Repeats] = {}
    for alike in kinds.values():
        words = [alike[0][i] for i in varies if len({arm[i] for arm in alike}) == 1]
        name = " ".join([design, *(words if len(kinds) > 1 else [])])
        taken = [other for other in entries if other.rpartition(" #")[0] == name or other == name]
        entries[f"{name} #{len(taken) + 1}" if taken else name] = found[alike[0]]
    return entries


def _once(design: str, repeats: Repeats) -> Repeats:
    """A design as it is written has one result, however often it was judged."""
    scores = {pair for _, pair in repeats.values()}
    if design == FITTED or len(scores) > 1:
        return repeats
    return {ONCE: next(iter(repeats.values()))}


def _scores(plan: MemberPlan, design: str) -> Scores:
    stages = {stage.label: stage for stage in plan.stages}
    return stages[f"{design} on valid"].key, stages[f"{design} on test"].key


def evaluate_stage(plan: MemberPlan) -> Stage:
    """The evaluation of a member by itself."""
    return next(stage for stage in plan.stages if isinstance(stage.inputs, EvaluateInputs))


def predict_stage(plan: MemberPlan, design: str, split: str) -> Stage:
    """The predictions of one design of a member."""
    stages = (stage for stage in plan.stages if isinstance(stage.inputs, PredictInputs))
    return next(stage for stage in stages if stage.label == f"{design} on {split}")
