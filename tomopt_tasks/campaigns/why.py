"""Why stages of a campaign have no stored result, and which results of older code it takes."""

from collections import Counter
from collections.abc import Mapping

from tomopt_tasks.campaigns.plan import CampaignPlan
from tomopt_tasks.planning.history import History
from tomopt_tasks.planning.reasons import CODE, FOLLOWS, HINT, NEW, explain, files
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

MOST_RUNS = 5
"""Runs that are looked through for a member: its own come first."""
AFTER = "they follow these"
COLUMNS = 3
"""Names of stages that a line spells out."""


def reasons(plan: CampaignPlan, refs: Mapping[str, Ref], store: Store | None) -> dict[str, str]:
    """Key -> why the stage would run, of all that are missing.

    Args:
        plan: the campaign.
        refs: see ``look_up_all``.
        store: where results lie; None: there is none yet.
    """
    found: dict[str, str] = {}
    for each in plan.members:
        missing = [one for one in each.stages if one.key not in refs and one.key not in found]
        if store is None or not missing:
            found |= {stage.key: NEW for stage in missing}
        else:
            history = History(store, each.member.study.study, MOST_RUNS)
            found |= explain(missing, each.stages, store, history)
    return found


def reason_lines(plan: CampaignPlan, why: Mapping[str, str]) -> list[str]:
    """How many stages would run for which reason, the most frequent first."""
    counts: dict[str, Counter[str]] = {}
    for key, reason in why.items():
        root = AFTER if reason.startswith(FOLLOWS) else reason
        counts.setdefault(root, Counter())[plan.stages[key].name] += 1
    ordered = sorted(counts.items(), key=lambda item: (item[0] == AFTER, -item[1].total()))
    lines = [f"{_named(count)}: {reason}" for reason, count in ordered if reason != NEW]
    return [*lines, *([HINT] if any(reason.startswith(CODE) for reason in counts) else [])]


def older_lines(plan: CampaignPlan, refs: Mapping[str, Ref]) -> list[str]:
    """Which stored results of older code are taken."""
    taken = [stage for key, stage in plan.stages.items() if stage.older and key in refs]
    changed = sorted({file for stage in taken for file in files(stage)})
    said = f"{len(taken)} stored results of older code are taken; changed since: "
    return [said + ", ".join(changed)] if taken else []


def _named(count: Counter[str]) -> str:
    return ", ".join(f"{n} {name}" for name, n in count.most_common(COLUMNS))
