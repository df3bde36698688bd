"""Comparisons of designs of the ladle-furnace benchmark (spec 10.2).

Each function draws three figures, mean and spread at each true height of: the prediction, its bias
(true minus predicted) and the squared error. ``NAME`` is the stem of the folder ``<NAME>_plots``
that the figures are saved in as PDF; None saves nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.plotting.appearance import Table, category_colour, styled
from tomopt_tasks.plotting.figures import finish, new_figure

SIZE = (12.0, 8.0)
QUANTITIES = ("predictions", "bias", "mse")
_LABELS = {
    "predictions": "Predicted fill level [m]",
    "bias": "Bias (true - predicted) [m]",
    "mse": "Squared error [m$^2$]",
}
_RAW = {"predictions": "pred", "bias": "bias", "mse": "mse"}


@dataclass(frozen=True, slots=True)
class _Curve:
    """One design: its table, whether its predictions are corrected, and its name."""

    table: Table
    corrected: bool
    label: str

    def groups(self, quantity: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True heights, means and standard deviations [m or m2]."""
        column = ("new_" if self.corrected else "") + _RAW[quantity]
        target, value = np.asarray(self.table["gen_target"]), np.asarray(self.table[column])
        heights = np.unique(target)
        parts = [value[target == height] for height in heights]
        mean = np.array([part.mean() for part in parts])
        std = np.array([part.std(ddof=1) if len(part) > 1 else 0.0 for part in parts])
        return heights, mean, std


def compare_raw_init_to_bias_corrected_init(
    df_start: Table,
    NAME: str | None,  # noqa: N803 - published signature
) -> list[Figure]:
    """The initial detector before and after the linear correction.

    Args:
        df_start: table (DataFrame or mapping) with columns ``gen_target``, ``pred``, ``bias``,
            ``mse`` and the corrected ``new_pred``, ``new_bias``, ``new_mse``.
        NAME: stem of the folder of the figures; None: save nothing.
    """
    curves = [_Curve(df_start, corrected=False, label="initial, raw")]
    curves += [_Curve(df_start, corrected=True, label="initial, corrected")]
    return _compare(curves, NAME, "initial")


def compare_init_to_optimised(
    df_start: Table,
    df_opt: Table,
    NAME: str | None,  # noqa: N803 - published signature
) -> list[Figure]:
    """The initial and the optimised detector, both corrected; squared errors on a log axis.

    Args:
        df_start: table of the initial detector, columns as above.
        df_opt: table of the optimised detector.
        NAME: stem of the folder of the figures; None: save nothing.
    """
    curves = [_Curve(df_start, corrected=True, label="initial")]
    curves += [_Curve(df_opt, corrected=True, label="optimised")]
    return _compare(curves, NAME, "optimised", log=True)


def compare_init_optimised_2(
    df_start: Table,
    df_opt_2: Table,
    NAME: str | None,  # noqa: N803 - published signature
) -> list[Figure]:
    """The initial detector and that of the second phase, both corrected; log axis as above.

    Args:
        df_start: table of the initial detector, columns as above.
        df_opt_2: table of the detector after the second phase.
        NAME: stem of the folder of the figures; None: save nothing.
    """
    curves = [_Curve(df_start, corrected=True, label="initial")]
    curves += [_Curve(df_opt_2, corrected=True, label="optimised, second phase")]
    return _compare(curves, NAME, "optimised_2", log=True)


def compare_optimised_to_baselines(
    df_bl_1: Table,
    df_bl_2: Table,
    df_opt_2: Table,
    NAME: str | None,  # noqa: N803 - published signature
) -> list[Figure]:
    """The optimised detector and the two baselines, all corrected.

    Args:
        df_bl_1: table of the first baseline, columns as above.
        df_bl_2: table of the second baseline.
        df_opt_2: table of the optimised detector.
        NAME: stem of the folder of the figures; None: save nothing.
    """
    curves = [_Curve(df_bl_1, corrected=True, label="baseline 1")]
    curves += [_Curve(df_bl_2, corrected=True, label="baseline 2")]
    curves += [_Curve(df_opt_2, corrected=True, label="optimised")]
    return _compare(curves, NAME, "baseline")


def _compare(
    curves: Sequence[_Curve], name: str | None, prefix: str, *, log: bool = False
) -> list[Figure]:
    folder = None if name is None else Path(f"{name}_plots")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    figures = []
    for quantity in QUANTITIES:
        figure = _draw(curves, quantity, log=log and quantity == "mse")
        figures.append(finish(figure, folder and folder / f"{prefix}_{quantity}.pdf"))
    return figures


@styled
def _draw(curves: Sequence[_Curve], quantity: str, *, log: bool) -> Figure:
    figure = new_figure(SIZE)
    axis = figure.subplots()
    for index, curve in enumerate(curves):
        heights, mean, std = curve.groups(quantity)
        shift = (index - 0.5 * (len(curves) - 1)) * 0.06 * _step(heights)
        axis.errorbar(
            heights + shift, mean, std, fmt="o", capsize=4, color=category_colour(index),
            label=curve.label,
        )  # fmt: skip
        if index == 0:
            _reference(axis, heights, quantity)
    if log:
        axis.set_yscale("log", nonpositive="clip")
    axis.set_xlabel("True fill level [m]")
    axis.set_ylabel(_LABELS[quantity])
    axis.legend()
    return figure


def _reference(axis: Axes, heights: np.ndarray, quantity: str) -> None:
    """Where perfect predictions lie."""
    if quantity == "predictions":
        axis.plot(heights, heights, "--", color="black", label="truth")
    elif quantity == "bias":
        axis.axhline(0.0, ls="--", color="black")


def _step(heights: np.ndarray) -> float:
    """Smallest distance of neighbouring heights [m]; 1 for a single one."""
    return float(np.diff(heights).min()) if len(heights) > 1 else 1.0
