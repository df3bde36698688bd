"""Response of a heat-map detector over its plane (spec 4.4)."""

from pathlib import Path
from typing import Any

from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from tomopt_tasks.callbacks.heatmap_gif import ResponseMap, response_map
from tomopt_tasks.plotting.appearance import LBL_SZ, styled
from tomopt_tasks.plotting.figures import finish, new_figure

TOP = 0.9
"""Response at the upper end of the colour scale."""


def plot_heatmap(panel: Any, savename: str | Path | None = None) -> Figure:  # noqa: ANN401
    """Relative efficiency of a heat map, twice as wide as the square that it started from.

    Args:
        panel: a ``DetectorHeatMap``.
        savename: where to save the figure; None: nowhere.
    """
    return plot_response_map(response_map(panel), savename)


@styled
def plot_response_map(found: ResponseMap, savename: str | Path | None = None) -> Figure:
    """A response that was sampled before.

    Args:
        found: numbers on a grid, and what it covers.
        savename: where to save the figure; None: nowhere.
    """
    figure = new_figure((4.8, 4.0))
    axis = figure.subplots()
    x_low, x_high, y_low, y_high = found["extent"]
    image = axis.imshow(
        _picture(found["values"]), origin="lower", extent=(x_low, x_high, y_low, y_high),
        cmap="plasma", vmin=0.0, vmax=TOP, interpolation="nearest",
    )  # fmt: skip
    axis.grid(visible=False)
    axis.set_xlabel("x [m]", fontsize=0.6 * LBL_SZ)
    axis.set_ylabel("y [m]", fontsize=0.6 * LBL_SZ)
    axis.tick_params(labelsize=0.5 * LBL_SZ)
    figure.colorbar(image, ax=axis, label="relative efficiency")
    return finish(figure, savename)


def _picture(values: Float[Tensor, "x y"]) -> Any:  # noqa: ANN401
    """The map with x to the right and y upwards."""
    return values.detach().cpu().numpy().T
