"""The figures of a campaign: forest plots, overlaid histories, cost against error."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.reports.campaign_data import FIT, TableData, entry_label, fits, is_fit
from tomopt_tasks.reports.campaign_words import main_entry
from tomopt_tasks.reports.forest import ForestRow
from tomopt_tasks.reports.style import (
    MUTED,
    WIDTH,
    Series,
    note,
    powers_of_ten,
    series,
    styled,
)
from tomopt_tasks.reports.verdict import outcome_of

MOST_CURVES = 6
"""Designs in one figure of curves."""

MOST_NAMES = 12
"""Designs that the legend of costs names: the best ones."""


def looks_of(table: TableData) -> dict[str, Series]:
    """How each entry is drawn, the same in every figure of a table."""
    names = list(table.record["entries"])
    first = next((name for name in names if is_fit(name)), None)
    styles = series(FIT if name == first else name for name in names)
    return {
        name: Series(entry_label(name), look.colour, look.marker)
        for name, look in zip(names, styles.values(), strict=True)
    }


def table_forest(table: TableData) -> list[ForestRow]:
    """A row for every entry but the reference, pooled over its repetitions, and one for each."""
    looks, rows = looks_of(table), []
    for name, entry in table.record["entries"].items():
        if name == table.reference:
            continue
        n, label, pair = len(entry["repeats"]), entry_label(name), entry["against"]
        pooled = f"{label}, all {n}" if n > 1 else label
        rows.append(_row(pooled, pair, _words(pair, entry), looks[name]))
        if n > 1:
            rows += [
                _row(f"{row['label']}", row["against"], "", looks[name]) for row in entry["repeats"]
            ]
    return rows


def tables_forest(tables: Sequence[TableData]) -> list[ForestRow]:
    """The best fit of every table against the reference of the same table."""
    rows = []
    for table in tables:
        name = main_entry(table)
        if name is not None:
            entry = table.record["entries"][name]
            label = ", ".join(part for part in (table.label, entry_label(name)) if part)
            words = f"against {entry_label(table.reference)}"
            rows.append(_row(label, entry["against"], words, looks_of(table)[name]))
    return rows


def _row(label: str, pair: Mapping[str, Any], words: str, look: Series) -> ForestRow:
    return ForestRow(label, pair["ratio"], pair["low"], pair["high"], words, look)


def _words(pair: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    n = len(entry["repeats"])
    seeds = f", {entry['wins']} of {n} by themselves" if n > 1 else ""
    return f"{outcome_of(pair)}{seeds}"


def exposure_record(table: TableData) -> dict[str, Any]:
    """The best entries as the exposure figure of a study reads them."""
    best = [row["name"] for row in table.record["board"]][:MOST_CURVES]
    names = dict.fromkeys([*best[: MOST_CURVES - 1], table.reference])
    entries = table.record["entries"]
    return {"designs": {name: {"exposure": entries[name]["exposure"]} for name in names}}


@styled
def histories_figure(table: TableData) -> Figure:
    """Loss over epochs: one thin line a repetition, the median thick."""
    figure = Figure(figsize=(WIDTH, 3.4))
    ax = figure.subplots()
    looks = looks_of(table)
    for name in fits(table.record):
        _draw_losses(ax, table, name, looks[name])
    if not ax.lines:
        note(ax, "no fit was recorded")
        return figure
    losses = [value for line in ax.lines for value in np.asarray(line.get_ydata(), float)]
    if min(losses) > 0:
        ax.set_yscale("log")
        powers_of_ten(ax.yaxis, plain=True)
    ax.set_xlabel("epoch")
    ax.set_title("training loss")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_losses(ax: Axes, table: TableData, name: str, look: Series) -> None:
    curves = []
    for (entry, _), rows in table.histories.items():
        points = [(row["epoch"] + 1, row["loss"]) for row in rows if row.get("loss") is not None]
        if entry == name and points:
            curves.append(dict(points))
            ax.plot(*zip(*points, strict=True), color=look.colour, linewidth=0.7, alpha=0.45)
    common = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    if common:
        middle = [float(np.median([curve[epoch] for curve in curves])) for epoch in common]
        label = f"{look.label}, median of {len(curves)}" if len(curves) > 1 else look.label
        ax.plot(common, middle, color=look.colour, linewidth=2.2, label=label)


@styled
def cost_figure(table: TableData) -> Figure:
    """Error against cost: one point a repetition, its 95 % interval; the pooled error is a ring."""
    figure = Figure(figsize=(WIDTH, 3.4))
    ax = figure.subplots()
    looks = looks_of(table)
    best = [row["name"] for row in table.record["board"]][:MOST_NAMES]
    for name, entry in table.record["entries"].items():
        look = looks[name]
        costs = [row["budget_used"] or 0.0 for row in entry["repeats"]]
        errors = [row["mse"] for row in entry["repeats"]]
        ax.plot(costs, errors, look.marker, color=look.colour, alpha=0.55, markersize=4)
        bar = [[entry["mse"] - entry["low"]], [entry["high"] - entry["mse"]]]
        ax.errorbar(
            [float(np.mean(costs))], [entry["mse"]], bar, fmt=look.marker, color=look.colour,
            markersize=8, markerfacecolor="none", capsize=3,
            label=look.label if name in best else None,
        )  # fmt: skip
    ax.set_yscale("log")
    powers_of_ten(ax.yaxis)
    ax.set_xlabel("cost of all panels [m²]")
    ax.set_ylabel(table.target.square("MSE"))
    low, high = ax.get_xlim()
    if high - low < 0.2:
        ax.set_xlim(low - 0.5, high + 0.5)
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    ax.tick_params(axis="x", color=MUTED)
    return figure
