"""Forest plot: the ratio of each design's error to the best baseline's, with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.reports.data import design_label
from tomopt_tasks.reports.numbers import interval, rounded
from tomopt_tasks.reports.style import FAINT, INK, MUTED, WIDTH, Series, plain_log, series, styled
from tomopt_tasks.reports.table import result_words

_WIDEST = 3.0
_TICKS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class ForestRow:
    """One line of a forest plot: a design, or a design and a seed."""

    label: str
    ratio: float
    low: float
    high: float
    words: str
    """What the interval means."""
    look: Series


def forest_rows(evaluation: Mapping[str, Any]) -> list[ForestRow]:
    """Every design but the reference, in the order of the record."""
    looks = series(evaluation["designs"])
    return [
        ForestRow(
            design_label(name),
            pair["ratio"],
            pair["low"],
            pair["high"],
            result_words(evaluation, name),
            looks[name],
        )
        for name, pair in evaluation["paired"].items()
    ]


@styled
def forest_figure(rows: Sequence[ForestRow], against: str) -> Figure:
    """Ratios on a logarithmic axis with a line at 1; what lies far off is an arrow at the edge.

    Args:
        rows: from top to bottom.
        against: what the reference is called.
    """
    figure = Figure(figsize=(WIDTH, 0.95 + 0.42 * max(len(rows), 1)))
    ax = figure.subplots()
    low = min([0.8, *(0.93 * row.low for row in rows)])
    high = min(_WIDEST, max([1.25, *(1.08 * row.high for row in rows if row.low < _WIDEST)]))
    low = max(low, 0.08)
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    plain_log(ax.xaxis, [tick for tick in _thinned(low, high) if low <= tick <= high])
    ax.axvline(1.0, color=INK, linewidth=1.1, zorder=1)
    ax.axvspan(low, 1.0, color=FAINT, alpha=0.35, linewidth=0, zorder=0)
    for position, row in enumerate(rows):
        _draw_row(ax, position, row, (low, high))
    ax.set_yticks(range(len(rows)), labels=[row.label for row in rows])
    ax.tick_params(axis="y", length=0, labelsize=9.5)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"mean squared error / that of {against}   (95 % interval, same volumes)")
    ax.set_title(f"← smaller error than {against}", color=MUTED, fontweight="normal")
    ax.set_title("larger error →", color=MUTED, fontweight="normal", loc="right")
    return figure


def _draw_row(ax: Axes, position: int, row: ForestRow, limits: tuple[float, float]) -> None:
    low, high = limits
    colour = row.look.colour
    text = f"{rounded(row.ratio)}  [{interval(row.low, row.high)}]"
    if row.ratio > high or row.ratio < low:
        edge, back, arrow = (high, high**0.9 * low**0.1, ">")
        if row.ratio < low:
            edge, back, arrow = (low, low**0.9 * high**0.1, "<")
        ax.plot([back, edge], [position] * 2, color=colour, linewidth=2)
        ax.plot(edge, position, arrow, color=colour, markersize=8, clip_on=False)
        text = f"off the scale: {text}"
    else:
        ax.plot([max(row.low, low), min(row.high, high)], [position] * 2, color=colour, linewidth=2)
        for end in (row.low, row.high):
            ax.plot(end, position, "|", color=colour, markersize=9, markeredgewidth=2)
        ax.plot(row.ratio, position, row.look.marker, color=colour, markersize=8.5)
    ax.annotate(
        f"{text}\n{row.words}",
        (1.0, position),
        (14, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
        linespacing=1.35,
    )


def _thinned(low: float, high: float) -> tuple[float, ...]:
    """Fewer ticks where the axis is long."""
    if high / low < 6:
        return _TICKS
    return (0.1, 0.2, 0.5, 1.0, 2.0, 3.0)
