"""The course of an optimisation: losses, their terms, metrics and the detector (spec 9.11)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from tomopt_tasks.callbacks.history import History
from tomopt_tasks.plotting.appearance import LBL_SZ, LEG_SZ, W_MID, category_colour, styled
from tomopt_tasks.plotting.figures import finish, new_figure
from tomopt_tasks.plotting.panels import draw_response, draw_views

_LABEL = 0.6 * LBL_SZ
_LEGEND = 0.6 * LEG_SZ


@styled
def plot_optimisation_history(history: History, savename: str | Path | None = None) -> Figure:
    """Losses, their composition, and, where there are any, metrics and views of the detector.

    Args:
        history: what a ``MetricLogger`` gives as ``history()``, or losses put together by hand.
        savename: where to save the figure; None: nowhere.
    """
    metric_rows = 1 if history.metrics else 0  # not 0 with and 1 without (D-47)
    share_rows = 1 if history.sub_losses else 0
    sides = list(dict.fromkeys(panel["pos"] for panel in history.panels))[:2]
    soft = any(panel["smooth"] is not None for panel in history.panels)
    figure = new_figure((W_MID, W_MID), layout=None)  # placed by hand: a film has many pictures
    split = 0.08 + 0.36 * len(sides) / 2
    heights = [3, 1, 1][: 1 + share_rows + metric_rows]
    curves = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, hspace=0.12, left=0.09, right=0.98,
        top=0.98, bottom=split,
    )  # fmt: skip
    losses = figure.add_subplot(curves[0])
    _draw_losses(losses, history)
    if share_rows:
        _draw_shares(figure.add_subplot(curves[1], sharex=losses), history)
    if metric_rows:
        _draw_metrics(figure.add_subplot(curves[-1], sharex=losses), history)
    for axis in figure.axes[:-1]:
        axis.tick_params(labelbottom=False)
    figure.axes[-1].set_xlabel("Epoch", fontsize=_LABEL)
    if sides:
        grid = figure.add_gridspec(
            len(sides), 3 + soft, hspace=0.6, wspace=0.4, left=0.09, right=0.98,
            top=split - 0.08, bottom=0.06,
        )  # fmt: skip
        _draw_detector(figure, grid, sides, history)
    return finish(figure, savename)


def _draw_losses(axis: Axes, history: History) -> None:
    n = history.batches_per_epoch
    training, validation = _finite(history.training), _finite(history.validation)
    axis.plot(
        np.arange(1, len(training) + 1) / n, training, label="Training", color=category_colour(0)
    )
    axis.plot(
        np.arange(1, len(validation) + 1), validation, label="Validation", marker="o",
        markersize=4, color=category_colour(1),
    )  # fmt: skip
    _draw_best(axis, validation if len(validation) else _finite(history.epoch_means), lower=True)
    last = max(len(training) / n, len(validation), 1.0)
    axis.set_xlim(1 / n if n > 1 else 0.5, max(last, 1 / n + 0.5))
    _label(axis, "Loss")


def _draw_shares(axis: Axes, history: History) -> None:
    names = sorted(history.sub_losses)
    rows = [np.nan_to_num(_finite(history.sub_losses[name])) for name in names]
    if rows and len(rows[0]):
        colours = [category_colour(k) for k in range(len(rows))]
        axis.stackplot(np.arange(1, len(rows[0]) + 1), *rows, labels=names, colors=colours)
    _label(axis, "Loss Composition")


def _draw_metrics(axis: Axes, history: History) -> None:
    for index, (name, values) in enumerate(history.metrics.items()):
        numbers = _finite(values)
        axis.plot(np.arange(1, len(numbers) + 1), numbers, label=name, color=category_colour(index))
        if index == 0:
            _draw_best(axis, numbers, lower=history.lower_is_better.get(name, True))
    _label(axis, ", ".join(history.metrics))


def _draw_best(axis: Axes, values: np.ndarray, *, lower: bool) -> None:
    """Where the best value lies; nothing if there is none."""
    known = values[~np.isnan(values)]
    if len(known):
        best = known.min() if lower else known.max()
        axis.axhline(best, ls="--", color="black", lw=1, label=f"Best = {best:.3E}")


def _draw_detector(figure: Figure, grid: GridSpec, sides: Sequence[str], history: History) -> None:
    for row, side in enumerate(sides):
        panels = [panel for panel in history.panels if panel["pos"] == side]
        axes = [figure.add_subplot(grid[row, column]) for column in range(3)]
        draw_views(axes, side, panels, history.box)
    soft = [panel["smooth"] for panel in history.panels if panel["smooth"] is not None]
    if soft:
        draw_response(figure.add_subplot(grid[0, 3]), soft[0])


def _label(axis: Axes, text: str) -> None:
    axis.set_ylabel(text, fontsize=_LABEL)
    axis.tick_params(labelsize=0.6 * LBL_SZ)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize=_LEGEND, loc="upper right")


def _finite(values: Sequence[float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The values with gaps where they are infinite."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)
