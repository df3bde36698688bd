"""What is said of a campaign, as JSON and as lines of text."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tomopt_tasks.campaigns.outputs import finish
from tomopt_tasks.campaigns.plan import CampaignPlan, complete
from tomopt_tasks.campaigns.run import CampaignRun
from tomopt_tasks.campaigns.slots import Job, Outcome
from tomopt_tasks.campaigns.state import MemberState
from tomopt_tasks.campaigns.tables import Table, make_tables
from tomopt_tasks.campaigns.why import older_lines, reason_lines
from tomopt_tasks.reports.campaign_data import CampaignData, TableData
from tomopt_tasks.reports.campaign_goals import goal_rows
from tomopt_tasks.reports.campaign_table import board_table, member_rows, plain_rows
from tomopt_tasks.reports.campaign_words import table_sentence
from tomopt_tasks.reports.numbers import duration
from tomopt_tasks.reports.search_data import SearchData
from tomopt_tasks.reports.table import older_note
from tomopt_tasks.reports.text import Answer, columns
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

LEFT_OUT = ("95 % of MSE, m²",)
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


class JobLines:
    """Says a line about each job that ends."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Say it so."""
        self._say = say

    def began(self, job: Job) -> None:
        """Its end is soon enough."""

    def waited(self) -> None:
        """Nothing has ended."""

    def ended(self, outcome: Outcome, n: int, total: int) -> None:
        """A job has ended."""
        self._say(job_line(outcome, n, total))


def failure_lines(failures: Mapping[str, str]) -> list[str]:
    """What failed (job -> why), and that the rest is kept."""
    if not failures:
        return []
    lines = [f"  {name}: {why}" for name, why in failures.items()]
    said = f"{len(lines)} job{'s' if len(lines) > 1 else ''} did not finish; run again to go on:"
    return [said, *lines]


def result(
    plan: CampaignPlan, store: Store, run: CampaignRun, search: SearchData | None = None
) -> Answer:
    """Leaderboards, seeds, goals, verdicts and files of a campaign, as far as it is complete.

    Args:
        plan: the campaign.
        store: where its results are.
        run: what it found and made.
        search: what the designs were found by.
    """
    stored = sum(key in run.refs for key in plan.stages)
    data: dict[str, Any] = {
        "campaign": plan.campaign.settings.campaign,
        "run": plan.run,
        "executed": run.executed,
        "stored": stored,
        "stages": len(plan.stages),
        "failures": run.failures,
        "tables": [],
    }
    if not any(complete(each, run.refs) for each in plan.members):
        return Answer(data, ["no member is complete; there is nothing to compare yet"])
    done = finish(plan, store, run.refs, search)
    data |= {
        "tables": [_table(table) for table in done.data.tables],
        "comparisons": done.made,
        "missing": done.data.missing,
        "report": str(done.outputs.report),
        "table": str(done.outputs.table),
        "detectors": [str(path) for path in done.outputs.detectors],
        "pictures": [str(path) for path in done.outputs.pictures],
    }
    lines = [line for table in done.data.tables for line in _table_lines(done.data, table)]
    lines += [f"report    {done.outputs.report}", f"table     {done.outputs.table}"]
    lines += [f"detector  {path}" for path in done.outputs.detectors]
    lines += [f"picture   {path}" for path in done.outputs.pictures]
    said = f"{run.executed} stages and {done.made} comparisons executed"
    lines += ["", f"{said}; {stored} of {len(plan.stages)} stages are stored"]
    if done.data.missing:
        lines.append(f"{len(done.data.missing)} of {done.data.n_members} members are missing")
    return Answer(data, lines)


def _table(table: TableData) -> dict[str, Any]:
    """Leaderboard, and one row a repetition of an entry: numbers in full."""
    return {
        "label": table.label,
        "reference": table.reference,
        "older_code": sorted(table.older),
        "board": table.record["board"],
        "rows": plain_rows([table]),
        "says": table_sentence(table),
    }


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
    note = [older_note(table.older)] if table.older else []
    return [*lines, table_sentence(table), *note, ""]


def planned(plan: CampaignPlan, refs: Mapping[str, Ref], why: Mapping[str, str]) -> Answer:
    """Members with what each needs, what is shared, and how the members are compared.

    Args:
        plan: the campaign.
        refs: see ``look_up_all``.
        why: see ``why.reasons``.
    """
    rows: list[dict[str, Any]] = []
    for each in plan.members:
        own = [stage for stage in each.stages if stage.key not in plan.shared]
        missing = sum(stage.key not in refs for stage in own)
        rows.append(
            {
                "member": each.name,
                "shared stages": len(each.stages) - len(own),
                "own stages": len(own),
                "would run": missing,
            }
        )
    needed = Counter(stage.name for key, stage in plan.shared.items() if key not in refs)
    shared = ", ".join(f"{count} {name}" for name, count in needed.items()) or "nothing"
    total = sum(key not in refs for key in plan.stages)
    lines = [*columns([{name: str(cell) for name, cell in row.items()} for row in rows]), ""]
    lines.append(f"shared: {len(plan.shared)} stages, of which would run: {shared}")
    tables = make_tables(plan)
    lines += [_comparison_line(table) for table in tables]
    lines.append(f"{total} of {len(plan.stages)} stages would run, and the comparisons")
    lines += [*reason_lines(plan, why), *older_lines(plan, refs)]
    data = {
        "campaign": plan.campaign.settings.campaign,
        "run": total,
        "cached": len(plan.stages) - total,
        "members": [{name.replace(" ", "_"): cell for name, cell in row.items()} for row in rows],
        "shared": {"stages": len(plan.shared), "run": needed},
        "reasons": Counter(why.values()),
        "older_code": sum(bool(stage.older) for stage in plan.stages.values()),
        "comparisons": {
            table.label: {entry.name: entry.repeats for entry in table.inputs.entries}
            for table in tables
        },
    }
    return Answer(data, lines)


def _comparison_line(table: Table) -> str:
    entries = ", ".join(
        f"{entry.name} x{len(entry.repeats)}" if len(entry.repeats) > 1 else entry.name
        for entry in table.inputs.entries
    )
    return f"{' '.join(word for word in ('comparison', table.label) if word)}: {entries}"


def standing(states: Sequence[MemberState]) -> Answer:
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
    said = ", ".join(f"{n} {state}" for state, n in counts.items())
    members = [
        {
            "member": each.plan.name,
            "run": each.plan.run,
            "state": each.state,
            "epochs": each.epochs,
            "stages": (each.stages, len(each.plan.stages)),
            "note": each.note,
        }
        for each in states
    ]
    return Answer({"members": members, "states": counts}, [*columns(rows), "", said])
