"""A search as lines of text."""

from collections import Counter

from tomopt_tasks.campaigns.search import SearchRun
from tomopt_tasks.campaigns.search_results import search_data, search_rows
from tomopt_tasks.campaigns.show import result_lines
from tomopt_tasks.config.trials import search_of
from tomopt_tasks.reports.data import target_of
from tomopt_tasks.reports.search_data import search_sentence
from tomopt_tasks.reports.search_page import trial_rows
from tomopt_tasks.reports.text import columns
from tomopt_tasks.store.store import Store

MOST_TRIALS = 100
"""Rows of trials that a terminal shows: the last ones."""


def trial_lines(found: SearchRun) -> list[str]:
    """Every trial, and how many there are of each state."""
    study = found.plan.members[0].member.study.model_dump(mode="json")
    rows = trial_rows(search_rows(found), target_of(study))
    notes = [f"trial {trial.number}: {trial.note}" for trial in found.trials if trial.note]
    return [*columns(rows[-MOST_TRIALS:]), "", *notes, _count(found)]


def _count(found: SearchRun) -> str:
    total = search_of(found.campaign).trials
    counts = Counter(trial.state for trial in found.ended)
    states = ", ".join(f"{n} {state}" for state, n in counts.items()) or "none has ended"
    return f"{len(found.ended)} of {total} trials: {states}"


def search_plan_lines(found: SearchRun) -> list[str]:
    """What is stored, and what would be proposed next."""
    lines = trial_lines(found)
    waiting = [trial for trial in found.trials if trial.state == "waiting"]
    for trial in waiting:
        values = ", ".join(f"{name} {value}" for name, value in trial.values.items())
        lines.append(f"{trial.name} would run next: {values}")
    if found.complete:
        lines.append("the search is complete; its finalists and the gradient alone are compared")
        return lines
    left = search_of(found.campaign).trials - len(found.ended)
    lines.append(f"{left} trials would run, then the gradient alone, then their comparison")
    return lines


def search_lines(found: SearchRun, store: Store) -> list[str]:
    """What a search found, with the comparison and the files, as far as it is."""
    lines = trial_lines(found)
    if found.final is None:
        return [*lines, "the search is not complete; run it again to go on"]
    data = search_data(found, store)
    lines += ["", _capital(search_sentence(data)), ""]
    return lines + result_lines(found.final.plan, store, found.final, data)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
