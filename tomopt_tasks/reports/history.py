"""How the fit went: loss and every parameter, epoch by epoch, with the phases marked."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.reports.scene import MM
from tomopt_tasks.reports.standing import metrics_of
from tomopt_tasks.reports.style import (
    INK,
    MUTED,
    PHASE,
    SERIES_COLOURS,
    WIDTH,
    note,
    powers_of_ten,
    styled,
)  # fmt: skip

Row = Mapping[str, Any]
Value = Callable[[Mapping[str, Any]], float]
End = tuple[tuple[float, float], str, str]
"""Where a line ends, what it is called, its colour."""

_SHADES = (SERIES_COLOURS[1], SERIES_COLOURS[2], SERIES_COLOURS[3], SERIES_COLOURS[4])


@styled
def history_figure(history: Sequence[Row], middle: Sequence[float] = ()) -> Figure:
    """Loss, panel heights, sides and centres, and learning rates over the epochs.

    Args:
        history: one row of metrics an epoch.
        middle: centre of the passive volume in x and y [mm], to compare the panels' centre with.
    """
    metrics = _metric_names(history)
    more = -(-len(metrics) // 3)
    figure = Figure(figsize=(WIDTH, 5.2 + 2.6 * more))
    axes = figure.subplots(2 + more, 3, sharex=True).ravel()
    _draw_loss(axes[0], history)
    _draw_panels(axes[1], history, "above", "height of upper panels [mm]", lambda p: p["z"])
    _draw_panels(axes[2], history, "below", "height of lower panels [mm]", lambda p: p["z"])
    _draw_panels(axes[3], history, None, "side of panels [mm]", _side)
    _draw_centres(axes[4], history, middle)
    _draw_rates(axes[5], history)
    for name, ax in zip(metrics, axes[6:], strict=False):
        _draw_metric(ax, history, name)
    used = 6 + len(metrics)
    for ax in axes[used:]:
        ax.set_axis_off()
    for ax in axes[:used]:
        _mark_phases(ax, history)
    for column in range(3):
        lowest = axes[column:used:3][-1]
        lowest.set_xlabel("epoch")
        lowest.tick_params(labelbottom=True)
    for (start, _), name in _phases(history):
        axes[0].annotate(
            name, (start, 0.0), (3, 4), xycoords=axes[0].get_xaxis_transform(),
            textcoords="offset points", color=MUTED, fontsize=8,
        )  # fmt: skip
    return figure


@styled
def loss_figure(history: Sequence[Row]) -> Figure:
    """Loss and metrics alone, small: for the live page of a run."""
    metrics = _metric_names(history)
    figure = Figure(figsize=(6.4, 2.6 * (1 + len(metrics))))
    axes = figure.subplots(1 + len(metrics), 1, sharex=True, squeeze=False).ravel()
    _draw_loss(axes[0], history)
    for name, ax in zip(metrics, axes[1:], strict=True):
        _draw_metric(ax, history, name)
    for ax in axes:
        _mark_phases(ax, history)
    axes[-1].set_xlabel("epoch")
    return figure


def _epochs(history: Sequence[Row]) -> list[float]:
    """Epochs counted from 1, as people do."""
    return [float(row.get("epoch", index)) + 1 for index, row in enumerate(history)]


def _phases(history: Sequence[Row]) -> list[tuple[tuple[float, float], str]]:
    """First and last edge of each phase on the epoch axis, and its name."""
    spans = []
    pairs = zip(_epochs(history), (str(row.get("phase", "")) for row in history), strict=True)
    for name, group in groupby(pairs, key=lambda pair: pair[1]):
        epochs = [epoch for epoch, _ in group]
        spans.append(((epochs[0] - 0.5, epochs[-1] + 0.5), name))
    return spans


def _mark_phases(ax: Axes, history: Sequence[Row]) -> None:
    for index, ((start, stop), _) in enumerate(_phases(history)):
        if index % 2 == 0:
            ax.axvspan(start, stop, color=PHASE, linewidth=0, zorder=0)
        elif index:
            ax.axvline(start, color=MUTED, linewidth=0.6)


def _draw_loss(ax: Axes, history: Sequence[Row]) -> None:
    ax.set_title("loss")
    epochs = _epochs(history)
    drawn = 0
    for key, style in (("loss", "-o"), ("valid", "--D")):
        points = [(e, row[key]) for e, row in zip(epochs, history, strict=True)
                  if row.get(key) is not None]  # fmt: skip
        if points:
            colour = SERIES_COLOURS[1] if key == "loss" else INK
            label = "training" if key == "loss" else "validation"
            ax.plot(*zip(*points, strict=True), style, color=colour, markersize=3, label=label)
            drawn += 1
    if not drawn:
        note(ax, "no epoch was fitted")
        return
    if all(row[k] > 0 for row in history for k in ("loss", "valid") if row.get(k) is not None):
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        ax.set_ylim(bottom=low * (low / high) ** 0.12)
        powers_of_ten(ax.yaxis, plain=True)
    if drawn > 1:
        ax.legend(loc="upper right")


def _metric_names(history: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(name for row in history for name in metrics_of(row)))


def _draw_metric(ax: Axes, history: Sequence[Row], name: str) -> None:
    """One metric in its own unit; a level line at the best value."""
    ax.set_title(name)
    rows = [metrics_of(row).get(name) for row in history]
    points = [(e, y) for e, y in zip(_epochs(history), rows, strict=True) if y is not None]
    if not points:
        note(ax, "no epoch has a value")
        return
    ax.plot(*zip(*points, strict=True), "-o", color=SERIES_COLOURS[1], markersize=3)
    about = next(row["metrics"][name] for row in history if name in metrics_of(row))
    best = min if about["lower_is_better"] else max
    ax.axhline(best(y for _, y in points), color=INK, linewidth=0.8)


def _side(panel: Mapping[str, Any]) -> float:
    """Mean of the two sides of a panel [m]."""
    return float(panel["span"][0] + panel["span"][1]) / 2


def _draw_panels(
    ax: Axes, history: Sequence[Row], pos: str | None, title: str, value: Value
) -> None:
    """One line a panel; upper panels solid, lower ones dashed."""
    ax.set_title(title)
    ends: list[End] = []
    for name in _panel_names(history, pos):
        points = [
            (epoch, MM * value(panel))
            for epoch, row in zip(_epochs(history), history, strict=True)
            for panel in row.get("geometry") or ()
            if panel["name"] == name
        ]
        style = "-" if name.startswith("above") else "--"
        ax.plot(*zip(*points, strict=True), style, linewidth=1.3, color=_shade(name))
        ends.append((points[-1], name, _shade(name)))
    if not ends:
        note(ax, "not recorded")
    _label_ends(ax, ends)


def _label_ends(ax: Axes, ends: Sequence[End]) -> None:
    """Names at the ends of lines, moved apart where they would overlap."""
    logarithmic = ax.get_yscale() == "log"
    low, high = (math.log10(y) if logarithmic else y for y in ax.get_ylim())
    lowest = low
    for (x, y), name, colour in sorted(ends, key=lambda end: end[0][1]):
        shown = max(math.log10(y) if logarithmic else y, lowest)
        lowest = shown + 0.055 * (high - low)
        ax.annotate(
            name,
            (x, y),
            (x + 0.6, 10**shown if logarithmic else shown),
            textcoords="data",
            va="center",
            fontsize=6.5,
            color=colour,
            annotation_clip=False,
        )


def _draw_centres(ax: Axes, history: Sequence[Row], middle: Sequence[float]) -> None:
    """Mean centre of the upper and of the lower panels; thin lines: the middle of the volume."""
    ax.set_title("mean centre of panels [mm]")
    ends: list[End] = []
    for pos, colour in (("above", _SHADES[0]), ("below", _SHADES[1])):
        for axis, style in ((0, "-"), (1, ":")):
            points = []
            for epoch, row in zip(_epochs(history), history, strict=True):
                panels = [p for p in row.get("geometry") or () if p["name"].startswith(pos)]
                if panels:
                    mean = sum(p["xy"][axis] for p in panels) / len(panels)
                    points.append((epoch, MM * mean))
            if points:
                ax.plot(*zip(*points, strict=True), style, color=colour)
                ends.append((points[-1], f"{'xy'[axis]} {pos}", colour))
    if not ends:
        note(ax, "not recorded")
        return
    for value in dict.fromkeys(middle):
        ax.axhline(value, color=INK, linewidth=0.8)
    _label_ends(ax, ends)


def _draw_rates(ax: Axes, history: Sequence[Row]) -> None:
    """Learning rates; each parameter group has its own unit."""
    ax.set_title("learning rates")
    rates = [row.get("rates") or row.get("lrs") or {} for row in history]
    ends: list[End] = []
    for index, name in enumerate(dict.fromkeys(name for row in rates for name in row)):
        points = [(e, r[name]) for e, r in zip(_epochs(history), rates, strict=True) if r.get(name)]
        if points:
            colour = SERIES_COLOURS[(index + 1) % len(SERIES_COLOURS)]
            ax.plot(*zip(*points, strict=True), linewidth=1.3, color=colour)
            ends.append((points[-1], name, colour))
    if not ends:
        note(ax, "not recorded")
        return
    ax.set_yscale("log")
    powers_of_ten(ax.yaxis)
    _label_ends(ax, ends)


def _panel_names(history: Sequence[Row], pos: str | None) -> list[str]:
    names = dict.fromkeys(p["name"] for row in history for p in row.get("geometry") or ())
    return [name for name in names if pos is None or name.startswith(pos)]


def _shade(name: str) -> str:
    """A colour for a panel, by its place in its module."""
    digits = "".join(character for character in name if character.isdigit())
    return _SHADES[int(digits or 0) % len(_SHADES)]
