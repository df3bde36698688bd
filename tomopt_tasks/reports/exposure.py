"""Error against exposure: the whole, and its two parts, for every design."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.reports.data import FILL_HEIGHT, Target
from tomopt_tasks.reports.style import (
    FAINT,
    MUTED,
    WIDTH,
    Series,
    note,
    powers_of_ten,
    series,
    styled,
)

MOST_IN_A_ROW = 4
"""Designs in one row of the legend."""

_PARTS = (("mse", "Mean squared error"), ("variance", "of it: variance"), ("bias2", "of it: bias²"))


@styled
def exposure_figure(
    evaluation: Mapping[str, Any],
    target: Target = FILL_HEIGHT,
    looks: Mapping[str, Series] | None = None,
) -> Figure:
    """Three log-log panels on common axes: error, variance and squared bias over seconds.

    A squared bias below its noise (zero or less, after the noise is taken off) has no place on a
    logarithmic axis: it is drawn as an arrow at the foot.

    Args:
        evaluation: with the exposures of its designs.
        target: the measured quantity.
        looks: how the designs are drawn in other figures.
    """
    figure = Figure(figsize=(WIDTH, 3.3))
    axes = list(figure.subplots(1, 3, sharex=True, sharey=True))
    designs = {name: d["exposure"] for name, d in evaluation["designs"].items() if d["exposure"]}
    if not designs:
        note(axes[1], "no exposures were evaluated")
        return figure
    floor = _floor(designs)
    looks = looks or series(evaluation["designs"])
    for ax, (part, title) in zip(axes, _PARTS, strict=True):
        ax.set_xscale("log")
        ax.set_yscale("log")
        for name, curve in designs.items():
            _draw_curve(ax, curve, part, looks[name], floor)
        ax.set_title(title)
    _guide(axes[1], designs)
    _finish(figure, axes, designs, floor, target)
    return figure


def _draw_curve(
    ax: Axes, curve: Sequence[Mapping[str, Any]], part: str, look: Series, floor: float
) -> None:
    seconds = np.array([row["seconds"] for row in curve])
    values = np.array([row[part] for row in curve], dtype=float)
    seen = values > floor
    style: Any = {"color": look.colour, "label": look.label}
    if part == "mse" and curve[0].get("mse_se") is not None:
        errors = np.array([row["mse_se"] for row in curve])
        ax.errorbar(seconds, values, errors, marker=look.marker, capsize=2.5, **style)
        return
    ax.plot(seconds, np.where(seen, values, np.nan), marker=look.marker, **style)
    if not seen.all():
        bottom = np.full((~seen).sum(), floor * 1.12)
        ax.plot(seconds[~seen], bottom, "v", color=look.colour, markerfacecolor="none")


def _floor(designs: Mapping[str, Any]) -> float:
    """Foot of the axis: well below every error, but no lower than a thousandth of the least."""
    rows = [row for curve in designs.values() for row in curve]
    least = min(row["mse"] for row in rows)
    parts = [row[part] for row in rows for part in ("bias2", "variance") if row[part] > 0]
    return float(max(0.7 * min(parts, default=least), 0.02 * least))


def _guide(ax: Axes, designs: Mapping[str, Any]) -> None:
    """A line that falls as 1 / time, to compare slopes with."""
    curve = min(designs.values(), key=lambda rows: rows[-1]["variance"])
    start, stop = curve[0]["seconds"], curve[-1]["seconds"]
    level = 0.62 * curve[0]["variance"]
    if stop <= start or level <= 0:
        return
    ax.plot([start, stop], [level, level * start / stop], color=MUTED, linewidth=0.9, dashes=(4, 3))
    ax.annotate(
        "∝ 1 / time",
        ((start * stop) ** 0.5, level * (start / stop) ** 0.5),
        (-52, -16),
        textcoords="offset points",
        color=MUTED,
        fontsize=8,
    )


def _finish(
    figure: Figure,
    axes: Sequence[Axes],
    designs: Mapping[str, Any],
    floor: float,
    target: Target,
) -> None:
    seconds = sorted({row["seconds"] for curve in designs.values() for row in curve})
    axes[0].set_ylim(bottom=floor)
    axes[0].set_ylabel(target.square("error"))
    powers_of_ten(axes[0].yaxis)
    for ax in axes:
        ax.grid(visible=True, which="minor", color=FAINT, linewidth=0.3)
        ax.set_xlim(seconds[0] / 1.25, seconds[-1] * 1.25)
        ax.set_xticks(seconds, labels=[f"{value:.3g}" for value in seconds])
        ax.set_xticks([], minor=True)
        ax.set_xlabel("exposure [s]")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(len(labels), MOST_IN_A_ROW)
    )
