"""A search as a report shows it, with the paired comparison that decides what it was worth."""

from collections.abc import Sequence
from dataclasses import replace

import optuna

from tomopt_tasks.campaigns.comparison import have_comparison, read_comparison
from tomopt_tasks.campaigns.finals import ALONE, finalists
from tomopt_tasks.campaigns.plan import complete
from tomopt_tasks.campaigns.search import SearchRun
from tomopt_tasks.campaigns.tables import CompareInputs, Table, make_tables
from tomopt_tasks.campaigns.trials import Trial
from tomopt_tasks.config.trials import search_of
from tomopt_tasks.planning.plan import FITTED
from tomopt_tasks.reports.campaign_data import entry_label
from tomopt_tasks.reports.campaign_table import tie_words
from tomopt_tasks.reports.search_data import SearchData, TrialRow, Versus
from tomopt_tasks.store.store import Store


def search_data(found: SearchRun, store: Store) -> SearchData:
    """What a search found, and the comparison if it is that far.

    Args:
        found: the search.
        store: where its results are, and the comparison will be.
    """
    judged = _judged(found)
    versus = _versus(found, store, judged) if judged else None
    return replace(search_rows(found), versus=versus)


def _judged(found: SearchRun) -> list[Trial]:
    return finalists(found.campaign, found.trials, found.front) if found.final else []


def search_rows(found: SearchRun) -> SearchData:
    """What a search found so far, without the comparison: nothing is read or made."""
    search = search_of(found.campaign)
    judged = _judged(found)
    names = {trial.number for trial in judged}
    return SearchData(
        objectives=search.objectives,
        trials=[_row(trial, found.front, names) for trial in found.trials],
        alone=[_row(trial, (), ()) for trial in found.restarts],
        settings={
            "sampler": search.sampler,
            "seed of the search": search.seed,
            "proposed together": search.together,
            "at random": min(search.startup, search.trials),
            "Optuna": optuna.__version__,
        },
    )


def _row(trial: Trial, front: Sequence[int], judged: set[int] | tuple[()]) -> TrialRow:
    return TrialRow(
        number=trial.number,
        values=trial.values,
        state=trial.state,
        error=trial.error,
        cost=trial.cost,
        epochs=len(trial.curve),
        muons=trial.muons,
        key=trial.key,
        note=trial.note,
        front=trial.number in front,
        judged=trial.number in judged,
    )


def _versus(found: SearchRun, store: Store, judged: Sequence[Trial]) -> Versus | None:
    """The finalist with the least error on the validation bank against the gradient alone."""
    assert found.final is not None
    done = [plan for plan in found.final.plan.members if complete(plan, found.final.refs)]
    best = min(judged, key=lambda trial: (trial.error or 0.0, trial.number))
    table = make_tables(found.final.plan, done)[0] if done else None
    names = f"{FITTED} {best.name}", f"{FITTED} {ALONE}"
    if table is None or not set(names) <= {entry.name for entry in table.inputs.entries}:
        return None
    pair = _of(table, *names)
    record = read_comparison(have_comparison(pair, store, found.final.refs), store)
    ours, theirs = (record["entries"][name] for name in names)
    costs = tuple(
        sum(row["budget_used"] or 0.0 for row in entry["repeats"]) / len(entry["repeats"])
        for entry in (ours, theirs)
    )
    tie = next((row for row in record["board"] if row["name"] != row["leader"]), None)
    return Versus(
        trial=entry_label(names[0]),
        alone=entry_label(names[1]),
        pair=ours["against"],
        seeds=len(ours["repeats"]),
        volumes=record["n_volumes"],
        costs=(costs[0], costs[1]),
        more=tie_words(tie).partition("; ")[2] if tie else "",
    )


def _of(table: Table, ours: str, theirs: str) -> Table:
    """The same comparison of two designs alone, the second as the reference."""
    by_name = {entry.name: entry for entry in table.inputs.entries}
    entries = [
        by_name[name].model_copy(update={"baseline": name == theirs}) for name in (ours, theirs)
    ]
    roles = [f"{split}/{entry.name}/{r}" for entry in entries for r in entry.repeats
             for split in ("valid", "test")]  # fmt: skip
    inputs = CompareInputs(evaluation=table.inputs.evaluation, entries=tuple(entries))
    parents = {role: table.parents[role] for role in roles}
    return Table(table.label, inputs, parents, table.plans, table.sources)
