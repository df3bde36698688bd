"""Predicted against true target, and the error that is left, for every design."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.reports.data import FILL_HEIGHT, Target, shown_designs
from tomopt_tasks.reports.numbers import rounded
from tomopt_tasks.reports.style import INK, WIDTH, Series, series, styled

_COLUMNS = 4


@styled
def predicted_figure(
    evaluation: Mapping[str, Any],
    predictions: Mapping[str, Predictions],
    target: Target = FILL_HEIGHT,
) -> Figure:
    """Above: every volume (dots) and the mean of each target with its standard deviation.

    Below: the mean error of each target with its standard error (thick) and the standard deviation
    (thin). The lower scale is that of the better designs; what lies outside is an arrow.
    """
    names = list(evaluation["designs"])
    if len(names) > _COLUMNS:
        names = list(dict.fromkeys([*shown_designs(evaluation), *names]))[:_COLUMNS]
    figure = Figure(figsize=(WIDTH, 5.0))
    axes = figure.subplots(
        2, len(names), sharex=True, sharey="row", squeeze=False, height_ratios=[1.45, 1]
    )
    looks = series(evaluation["designs"])
    limit = _error_limit(evaluation, target)
    for column, name in zip(axes.T, names, strict=True):
        design = evaluation["designs"][name]
        _draw_predicted(column[0], design, predictions.get(name), looks[name], target)
        _draw_error(column[1], design, looks[name], target, limit)
        column[1].set_xlabel(target.axis("true"))
    axes[0, 0].set_ylabel(target.axis("predicted (calibrated)"))
    axes[1, 0].set_ylabel(target.axis("mean error"))
    return figure


def _draw_predicted(
    ax: Axes,
    design: Mapping[str, Any],
    predictions: Predictions | None,
    look: Series,
    target: Target,
) -> None:
    if predictions is not None:
        slope, intercept = design["calibration"]
        ax.plot(
            target.scale * predictions.truth, target.scale * (slope * predictions.best + intercept),
            ".", color=look.colour, alpha=0.22, markersize=3.5, markeredgewidth=0,
            rasterized=predictions.truth.size > 300,
        )  # fmt: skip
    true, mean, std, _ = _columns(design, target)
    pad = 0.06 * float(np.ptp(true) or 1.0)
    line = [true.min() - pad, true.max() + pad]
    ax.plot(line, line, color=INK, linewidth=0.8, zorder=1)
    ax.errorbar(true, mean, std, fmt=look.marker, color=look.colour, markersize=4, capsize=2)
    ax.set_title(look.label, color=look.colour)
    shown = f"RMSE {rounded(target.scale * design['rmse'])} {target.shown}".strip()
    ax.set_title(shown, loc="right", fontweight="normal", fontsize=8)


def _draw_error(
    ax: Axes, design: Mapping[str, Any], look: Series, target: Target, limit: float
) -> None:
    true, mean, std, se = _columns(design, target)
    error = mean - true
    ax.axhline(0.0, color=INK, linewidth=0.8)
    inside = np.abs(error) <= limit
    style: Any = {"color": look.colour, "fmt": "none"}
    ax.errorbar(true[inside], error[inside], std[inside], elinewidth=0.8, **style)
    ax.errorbar(true[inside], error[inside], se[inside], elinewidth=3, **style)
    ax.plot(true[inside], error[inside], look.marker, color=look.colour, markersize=4)
    for x, value in zip(true[~inside], error[~inside], strict=True):
        ax.plot(x, np.sign(value) * limit * 0.93, "^" if value > 0 else "v", color=look.colour)
    if not inside.all():
        worst = error[np.argmax(np.abs(error))]
        ax.set_title(f"off the scale, up to {worst:+.0f} {target.shown}", fontweight="normal",
                     loc="right", fontsize=8)  # fmt: skip
    ax.set_ylim(-limit, limit)


def _columns(design: Mapping[str, Any], target: Target) -> tuple[np.ndarray, ...]:
    """True, mean prediction, standard deviation and standard error of each target, as shown."""
    rows = design["per_target"]
    true, mean, std = (
        target.scale * np.array([row[key] or 0.0 for row in rows])
        for key in ("target", "mean", "std")
    )
    counts = np.array([row["n"] for row in rows])
    return true, mean, std, std / np.sqrt(counts)


def _error_limit(evaluation: Mapping[str, Any], target: Target) -> float:
    """Half height of the error axis: room for the designs whose RMSE is within twice the best."""
    designs = evaluation["designs"].values()
    best = min(design["rmse"] for design in designs)
    reach = [
        target.scale * (abs(row["mean"] - row["target"]) + (row["std"] or 0.0))
        for design in designs
        if design["rmse"] <= 2 * best
        for row in design["per_target"]
    ]
    return 1.15 * max(reach) or 1.0
