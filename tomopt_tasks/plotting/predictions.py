"""Predicted and true radiation lengths side by side (spec 10.1)."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tomopt_tasks.plotting.appearance import H_MID, LBL_SZ, W_MID, styled
from tomopt_tasks.plotting.figures import finish, new_figure


@styled
def plot_pred_true_x0(
    pred: Num[np.ndarray, "..."],
    true: Num[np.ndarray, "..."],
    savename: str | Path | None = None,
) -> Figure:
    """Maps of the predicted (left) and true (right) X0, the top layer first.

    Args:
        pred: predicted X0 (z, x, y) [m]; NaN is left blank.
        true: true X0 (z, x, y) [m].
        savename: where to save the figure; None: nowhere.

    Raises:
        ValueError: the two grids have different shapes.
    """
    if pred.shape != true.shape or pred.ndim != 3:
        raise ValueError(
            f"pred has shape {pred.shape} and true {true.shape}; give two grids (z, x, y)"
        )
    n_layers = len(true)
    figure = new_figure((H_MID, W_MID))
    axes = figure.subplots(n_layers, 2, squeeze=False)  # one layer has rows too (D-52)
    for column, (title, grid) in enumerate((("Prediction", pred), ("Truth", true))):
        low, high = _limits(grid)
        for row, layer in enumerate(reversed(range(n_layers))):
            axis = axes[row, column]
            # x to the right, y up
            image = axis.imshow(grid[layer].T, origin="lower", cmap="viridis", vmin=low, vmax=high)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)
            if column == 0:
                axis.set_ylabel(f"Layer {layer}", fontsize=0.6 * LBL_SZ)
        axes[0, column].set_title(title)
        figure.colorbar(image, ax=list(axes[:, column]), label=r"$X_0$ [m]", shrink=0.7)
    return finish(figure, savename)


def _limits(grid: NDArray[Any]) -> tuple[float, float]:
    """Smallest and largest finite number; 0 and 1 when there is none."""
    finite = grid[np.isfinite(grid)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
