"""What is said of a search, as JSON and as lines of text."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from tomopt_tasks.campaigns.search import SearchRun
from tomopt_tasks.campaigns.search_results import search_data, search_rows
from tomopt_tasks.campaigns.show import result
from tomopt_tasks.config.trials import search_of
from tomopt_tasks.reports.data import target_of
from tomopt_tasks.reports.search_data import search_sentence
from tomopt_tasks.reports.search_page import trial_rows
from tomopt_tasks.reports.text import Answer, columns
from tomopt_tasks.store.store import Store

MOST_TRIALS = 100
"""Rows of trials that a terminal shows: the last ones."""


def standing(found: SearchRun) -> Answer:
    """How far a search is."""
    return Answer(_facts(found), _lines(found))


def _facts(found: SearchRun) -> dict[str, Any]:
    rows = search_rows(found)
    return {
        "campaign": found.campaign.settings.campaign,
        "run": found.plan.run,
        "complete": found.complete,
        "objectives": rows.objectives,
        "trials": [asdict(row) for row in rows.trials],
        "alone": [asdict(row) for row in rows.alone],
        "settings": rows.settings,
    }


def _lines(found: SearchRun) -> list[str]:
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


def planned(found: SearchRun) -> Answer:
    """What is stored, and what would be proposed next."""
    lines = _lines(found)
    waiting = [trial for trial in found.trials if trial.state == "waiting"]
    for trial in waiting:
        values = ", ".join(f"{name} {value}" for name, value in trial.values.items())
        lines.append(f"{trial.name} would run next: {values}")
    if found.complete:
        lines.append("the search is complete; its finalists and the gradient alone are compared")
        return Answer({**_facts(found), "left": 0}, lines)
    left = search_of(found.campaign).trials - len(found.ended)
    lines.append(f"{left} trials would run, then the gradient alone, then their comparison")
    return Answer({**_facts(found), "left": left}, lines)


def ended(found: SearchRun, store: Store) -> Answer:
    """What a search found, with the comparison and the files, as far as it is."""
    lines, facts = _lines(found), {**_facts(found), "failures": found.failures}
    if found.final is None:
        return Answer(facts, [*lines, "the search is not complete; run it again to go on"])
    data = search_data(found, store)
    said = _capital(search_sentence(data))
    final = result(found.final.plan, store, found.final, data)
    facts |= {
        "says": said,
        "versus": asdict(data.versus) if data.versus else None,
        "comparison": final.data,
        "executed": found.executed,
    }
    return Answer(facts, [*lines, "", said, "", *final.lines])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
