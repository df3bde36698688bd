"""A campaign as lines of text."""

from collections import Counter
from collections.abc import Mapping, Sequence

from tomopt_tasks.campaigns.outputs import finish
from tomopt_tasks.campaigns.plan import CampaignPlan, complete
from tomopt_tasks.campaigns.run import CampaignRun
from tomopt_tasks.campaigns.slots import Outcome
from tomopt_tasks.campaigns.state import MemberState
from tomopt_tasks.campaigns.tables import make_tables
from tomopt_tasks.reports.campaign_data import CampaignData, TableData
from tomopt_tasks.reports.campaign_goals import goal_rows
from tomopt_tasks.reports.campaign_table import board_table, member_rows
from tomopt_tasks.reports.campaign_words import table_sentence
from tomopt_tasks.reports.numbers import duration
from tomopt_tasks.reports.search_data import SearchData
from tomopt_tasks.reports.text import columns
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

LEFT_OUT = ("95 % of it, m²",)
"""Columns of the leaderboard that a terminal has no room for."""

MOST_SEEDS = 40
"""Rows of single seeds that a terminal shows."""


def job_line(outcome: Outcome, n: int, total: int) -> str:
    """One line about a job that ended."""
    seconds = outcome.result.get("seconds")
    time = f" in {duration(float(seconds))}" if seconds is not None else ""
    word = "done" if outcome.state == "done" else f"{outcome.state.upper()}: {outcome.error}"
    wide = len(str(total))
    return f"[{n:>{wide}}/{total}] {outcome.name}: {word}{time}"


def failure_lines(failures: Mapping[str, str]) -> list[str]:
    """What failed (job -> why), and that the rest is kept."""
    if not failures:
        return []
    lines = [f"  {name}: {why}" for name, why in failures.items()]
    said = f"{len(lines)} job{'s' if len(lines) > 1 else ''} did not finish; run again to go on:"
    return [said, *lines]


def result_lines(
    plan: CampaignPlan, store: Store, run: CampaignRun, search: SearchData | None = None
) -> list[str]:
    """Leaderboards, seeds, goals, verdicts and files of a campaign, as far as it is complete.

    Args:
        plan: the campaign.
        store: where its results are.
        run: what it found and made.
        search: what the designs were found by.
    """
    if not any(complete(each, run.refs) for each in plan.members):
        return ["no member is complete; there is nothing to compare yet"]
    done = finish(plan, store, run.refs, search)
    lines = [line for table in done.data.tables for line in _table_lines(done.data, table)]
    lines += [f"report    {done.outputs.report}", f"table     {done.outputs.table}"]
    lines += [f"detector  {path}" for path in done.outputs.detectors]
    lines += [f"picture   {path}" for path in done.outputs.pictures]
    stored = sum(key in run.refs for key in plan.stages)
    said = f"{run.executed} stages and {done.made} comparisons executed"
    lines += ["", f"{said}; {stored} of {len(plan.stages)} stages are stored"]
    if done.data.missing:
        lines.append(f"{len(done.data.missing)} of {done.data.n_members} members are missing")
    return lines


def _table_lines(data: CampaignData, table: TableData) -> list[str]:
    rows = [{k: v for k, v in row.items() if k not in LEFT_OUT} for row in board_table(table)]
    lines = [table.label] if table.label else []
    lines += [*columns(rows), ""]
    seeds = [row for row in member_rows(table) if row["seed"] != "-"]
    if 0 < len(seeds) <= MOST_SEEDS:
        lines += [*columns(seeds), ""]
    goals = goal_rows(table, data.goals[table.label]) if table.label in data.goals else []
    if goals:
        lines += [*columns(goals), ""]
    return [*lines, table_sentence(table), ""]


def campaign_plan_lines(plan: CampaignPlan, refs: Mapping[str, Ref]) -> list[str]:
    """Members with what each needs, what is shared, and how the members are compared."""
    rows = []
    for each in plan.members:
        own = [stage for stage in each.stages if stage.key not in plan.shared]
        missing = sum(stage.key not in refs for stage in own)
        rows.append(
            {
                "member": each.name,
                "shared stages": str(len(each.stages) - len(own)),
                "own stages": str(len(own)),
                "would run": str(missing),
            }
        )
    needed = Counter(stage.name for key, stage in plan.shared.items() if key not in refs)
    shared = ", ".join(f"{count} {name}" for name, count in needed.items()) or "nothing"
    total = sum(key not in refs for key in plan.stages)
    lines = [*columns(rows), ""]
    lines.append(f"shared: {len(plan.shared)} stages, of which would run: {shared}")
    for table in make_tables(plan):
        label = f" {table.label}" if table.label else ""
        entries = ", ".join(
            f"{entry.name} x{len(entry.repeats)}" if len(entry.repeats) > 1 else entry.name
            for entry in table.inputs.entries
        )
        lines.append(f"comparison{label}: {entries}")
    lines.append(f"{total} of {len(plan.stages)} stages would run, and the comparisons")
    return lines


def status_lines(states: Sequence[MemberState]) -> list[str]:
    """One line a member, and a sum."""
    rows = [
        {
            "member": each.plan.name,
            "state": each.state,
            "epochs": f"{each.epochs[0]} of {each.epochs[1]}",
            "stages": f"{each.stages} of {len(each.plan.stages)}",
            "note": each.note,
        }
        for each in states
    ]
    counts = Counter(each.state for each in states)
    return [*columns(rows), "", ", ".join(f"{n} {state}" for state, n in counts.items())]
