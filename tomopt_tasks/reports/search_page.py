"""The section of a page that shows a search: how it went, the front, and every trial."""

import csv
import io
from collections.abc import Iterable, Sequence
from html import escape

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tomopt_tasks.reports import html
from tomopt_tasks.reports.data import Target
from tomopt_tasks.reports.numbers import rounded, scientific
from tomopt_tasks.reports.search_data import SearchData, TrialRow, search_sentence, spell
from tomopt_tasks.reports.style import (
    FAINT,
    INK,
    MUTED,
    SERIES_COLOURS,
    WIDTH,
    inline_svg,
    note,
    powers_of_ten,
    styled,
)

_TRIAL, _ALONE = SERIES_COLOURS[1], SERIES_COLOURS[2]


def search_section(data: SearchData, target: Target, name: str) -> str:
    """Everything about a search.

    Args:
        data: the search.
        target: the measured quantity.
        name: of the campaign, for the file to download.
    """
    read = (
        f"{escape(_capital(search_sentence(data)))} Trials are chosen by their error on the "
        "validation bank, so that the test bank has no say; a fit from random detectors by the "
        "same error stands for the gradient alone."
    )
    pictures = [("s", progress_figure(data, target), "Error of every trial")]
    if len(data.objectives) > 1:
        pictures.append(("p", pareto_figure(data, target), "Error against cost, with the front"))
    figures = "".join(
        f"<figure>{inline_svg(figure, salt=f'search{salt}', alt=alt)}</figure>"
        for salt, figure, alt in pictures
    )
    best = [row for row in trial_rows(data, target) if row["on the front"] or row["judged"]]
    every = html.table(trial_rows(data, target), words=("trial", "state"))
    return html.section(
        "search", "What the search found", read, figures, "<h3>The best trials</h3>",
        html.table(best, words=("trial", "state")),
        f"<details><summary>every trial</summary>{every}</details>",
        html.facts(data.settings),
        html.download(trials_csv(data), f"{name}-trials.csv", "text/csv"),
    )  # fmt: skip


def trial_rows(data: SearchData, target: Target) -> list[dict[str, str]]:
    """One row a trial, for people; the fits of the gradient alone come last."""
    names = list(data.trials[0].values) if data.trials else []
    named = [(f"trial {row.number}", row) for row in data.trials]
    named += [(f"gradient alone {row.number}", row) for row in data.alone]
    return [
        {
            "trial": label,
            **{name: spell(row.values.get(name, "-")) for name in names},
            "state": row.state,
            target.square("MSE"): "-" if row.error is None else scientific(row.error),
            "cost": "-" if row.cost is None else rounded(row.cost),
            "epochs": str(row.epochs),
            "on the front": "yes" if row.front else "",
            "judged": "yes" if row.judged else "",
            "key": row.key[:8],
        }
        for label, row in named
    ]


def trials_csv(data: SearchData) -> str:
    """All trials as comma-separated values with a header line, numbers in full."""
    names = list(data.trials[0].values) if data.trials else []
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    facts = ("state", "error", "cost", "epochs", "muons", "front", "judged", "key", "note")
    writer.writerow(["arm", "number", *names, *facts])
    for arm, rows in (("search", data.trials), ("gradient alone", data.alone)):
        for row in rows:
            values = [row.values.get(name, "") for name in names]
            writer.writerow([arm, row.number, *values, *(getattr(row, fact) for fact in facts)])
    return out.getvalue()


@styled
def progress_figure(data: SearchData, target: Target) -> Figure:
    """Error over the number of the trial, and the least so far of both arms."""
    figure = Figure(figsize=(WIDTH, 3.2))
    ax = figure.subplots()
    arms = (("trial", data.trials, _TRIAL, "o"), ("gradient alone", data.alone, _ALONE, "^"))
    for label, rows, colour, marker in arms:
        points = _points(rows)
        if points:
            ax.plot(*zip(*points, strict=True), marker, color=colour, alpha=0.55)
            best = list(_least(points))
            ax.step(
                *zip(*best, strict=True), where="post", color=colour, label=f"{label}, best so far"
            )
    if not ax.lines:
        note(ax, "no trial is complete")
        return figure
    for row in data.trials:
        if row.state != "complete":
            ax.axvline(row.number, color=FAINT, linewidth=0.8, zorder=0)
    ax.set_yscale("log")
    powers_of_ten(ax.yaxis)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("trial (grey: given up or failed)")
    ax.set_ylabel(f"{target.square('MSE')}, validation")
    ax.legend(loc="upper right")
    return figure


def _points(rows: Sequence[TrialRow]) -> list[tuple[int, float]]:
    return [(row.number, row.error) for row in rows if row.error is not None]


def _least(points: Sequence[tuple[int, float]]) -> Iterable[tuple[int, float]]:
    best = float("inf")
    for number, error in points:
        best = min(best, error)
        yield number, best


@styled
def pareto_figure(data: SearchData, target: Target) -> Figure:
    """Error against cost of the complete trials; those on the front are joined."""
    figure = Figure(figsize=(WIDTH, 3.4))
    ax = figure.subplots()
    done = _places(data.trials)
    if not done:
        note(ax, "no trial is complete")
        return figure
    ax.plot(*zip(*done.values(), strict=True), "o", color=MUTED, alpha=0.5)
    front = [row for row in data.trials if row.front and row.number in done]
    line = sorted(done[row.number] for row in front)
    costs, errors = [cost for cost, _ in line], [error for _, error in line]
    ax.step(costs, errors, "o-", where="post", color=_TRIAL, label="front: none better in both")
    for row in front:
        if row.judged:
            ax.annotate(
                f"trial {row.number}", done[row.number], xytext=(4, 4),
                textcoords="offset points", color=INK,
            )  # fmt: skip
    alone = _places(data.alone).values()
    if alone:
        cost, error = min(alone, key=lambda place: place[1])
        ax.plot([cost], [error], "^", color=_ALONE, label="gradient alone, its best")
    ax.set_yscale("log")
    powers_of_ten(ax.yaxis)
    ax.set_xlabel("cost of all panels")
    ax.set_ylabel(f"{target.square('MSE')}, validation")
    ax.legend(loc="upper right")
    return figure


def _places(rows: Sequence[TrialRow]) -> dict[int, tuple[float, float]]:
    """Number -> cost and error of those that have both."""
    return {
        row.number: (row.cost, row.error)
        for row in rows
        if row.cost is not None and row.error is not None
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
