"""Whether a campaign reaches what it set out for, wish by wish."""

from collections.abc import Iterator, Mapping
from typing import Any

from tomopt_tasks.reports.campaign_data import TableData, worst_offset
from tomopt_tasks.reports.campaign_table import MM, fit_times
from tomopt_tasks.reports.campaign_words import main_entry
from tomopt_tasks.reports.numbers import duration, rounded


def goal_rows(table: TableData, goal: Mapping[str, Any]) -> list[dict[str, str]]:
    """One row a wish: what was wanted, what came out, and whether it was reached.

    Args:
        table: the comparison.
        goal: see ``config.campaign.Goal``.
    """
    name = main_entry(table)
    if name is None:
        return []
    rows = []
    for what, wanted, got, reached in _wishes(table, name, goal):
        result = "not known" if reached is None else "reached" if reached else "MISSED"
        rows.append({"goal": what, "wanted": wanted, "got": got, "result": result})
    return rows


Wish = tuple[str, str, str, bool | None]


def _wishes(table: TableData, name: str, goal: Mapping[str, Any]) -> Iterator[Wish]:
    entry = table.record["entries"][name]
    pair, n = entry["against"], len(entry["repeats"])
    ratio = rounded(pair["ratio"])
    if goal["ratio"] is not None:
        yield "MSE ratio", f"at most {goal['ratio']:g}", ratio, pair["ratio"] <= goal["ratio"]
        yield "95 % interval", "below 1", f"up to {rounded(pair['high'])}", pair["high"] < 1
    if goal["suspect"] is not None:
        wanted = f"not below {goal['suspect']:g}, else look for a mistake"
        yield "plausible", wanted, ratio, pair["ratio"] >= goal["suspect"]
    if goal["wins"]:
        wins = entry["wins"]
        yield "seeds that win", f"at least {goal['wins']}", f"{wins} of {n}", wins >= goal["wins"]
    if goal["off_centre"] is not None:
        worst, most = worst_offset(table, name), goal["off_centre"]
        got = "-" if worst is None else f"{MM * worst:.0f} mm"
        reached = None if worst is None else worst <= most
        yield "modules off centre", f"at most {MM * most:.0f} mm", got, reached
    if goal["fit"] is not None:
        times = fit_times(table, name)
        mean = sum(times) / len(times) if times else None
        got = "-" if mean is None else duration(mean)
        reached = None if mean is None else mean <= goal["fit"]
        yield "mean time of a fit", f"at most {duration(goal['fit'])}", got, reached
