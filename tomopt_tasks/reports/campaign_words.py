"""A campaign in words: who wins, by how much, how surely, and what it is worth in time."""

import re
from collections.abc import Mapping
from typing import Any

from tomopt_tasks.reports.campaign_data import CampaignData, TableData, entry_label, fits
from tomopt_tasks.reports.numbers import duration, interval, rounded
from tomopt_tasks.reports.search_data import search_sentence
from tomopt_tasks.reports.verdict import outcome_of


def main_entry(table: TableData) -> str | None:
    """The entry that a table is about: the best of the fits that is not the reference."""
    entries = table.record["entries"]
    names = [name for name in fits(table.record) if name != table.reference]
    return min(names, key=lambda name: float(entries[name]["mse"])) if names else None


def table_sentence(table: TableData) -> str:
    """One table in a few sentences."""
    name = main_entry(table)
    head = f"{table.label}: " if table.label else ""
    if name is None:
        best = table.record["board"][0]
        tie = " (a tie)" if best["tie"] else ""
        return f"{head}the least error has {entry_label(best['name'])}{tie}."
    entry, n_volumes = table.record["entries"][name], table.record["n_volumes"]
    pair, repeats = entry["against"], entry["repeats"]
    over = f"{n_volumes} test volumes" + (f" and {len(repeats)} seeds" if len(repeats) > 1 else "")
    verb = {"better": "it wins", "worse": "it loses", "tie": "a tie"}[outcome_of(pair)]
    text = (
        f"{head}the error (MSE) of {entry_label(name)} is {rounded(pair['ratio'])} times that of "
        f"{entry_label(table.reference)} (95 % interval {interval(pair['low'], pair['high'])}, "
        f"paired over {over}): {verb}."
    )
    if len(repeats) > 1:
        text += f" {entry['wins']} of {len(repeats)} seeds win by themselves."
    return text + _saved(entry, table)


def _saved(entry: Mapping[str, Any], table: TableData) -> str:
    seconds = entry["seconds_to_reference"]
    if seconds is None or entry["against"]["high"] >= 1:
        return ""
    full = float(table.record["entries"][table.reference]["exposure"][-1]["seconds"])
    if seconds >= full:
        return ""
    return (
        f" It reaches the error of {entry_label(table.reference)} after {duration(full)} in "
        f"{duration(seconds)}, {100 * (1 - seconds / full):.0f} % less exposure."
    )


def outcome(data: CampaignData) -> str:
    """Either "better", "worse" or "tie", if all tables agree, else "tie".

    Of a search, how its best trial compares with the gradient alone.
    """
    if data.search is not None and data.search.versus is not None:
        return outcome_of(data.search.versus.pair)
    found = set()
    for table in data.tables:
        name = main_entry(table)
        found.add("tie" if name is None else outcome_of(table.record["entries"][name]["against"]))
    return found.pop() if len(found) == 1 else "tie"


def campaign_headline(data: CampaignData) -> str:
    """The outcome in a few words."""
    if data.search is not None and data.search.versus is not None:
        verb = {"better": "beats", "worse": "is worse than", "tie": "does not beat"}[outcome(data)]
        return f"The search {verb} the gradient alone"
    mains = [(table, main_entry(table)) for table in data.tables]
    found = [(table, name) for table, name in mains if name is not None]
    if not found:
        return "Designs compared"
    wins = sum(outcome_of(t.record["entries"][name]["against"]) == "better" for t, name in found)
    n = len(found)
    if n == 1:
        verb = {"better": "Beats", "worse": "Does not beat", "tie": "A tie with"}[outcome(data)]
        return f"{verb} {entry_label(found[0][0].reference)}"
    return f"The optimised design wins {wins} of {n} comparisons"


def campaign_verdict(data: CampaignData) -> str:
    """One honest paragraph."""
    sentences = [search_sentence(data.search)] if data.search is not None else []
    sentences += [table_sentence(table) for table in data.tables]
    text = " ".join(map(capital, sentences))
    if data.missing:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(data.missing.items())[:3])
        text += f" MISSING: {len(data.missing)} of {data.n_members} members ({why})."
    return text


def capital(text: str) -> str:
    """A sentence with a large first letter."""
    return text[:1].upper() + text[1:]


def slug_of(label: str) -> str:
    """The name of a comparison in the names of files."""
    return re.sub(r"[^\w.-]+", "-", label) or "best"
