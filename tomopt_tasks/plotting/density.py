"""Where tracks come closest and where muons hit, layer by layer (spec 10.1)."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from tomopt_tasks.plotting.appearance import H_MID, Table, styled
from tomopt_tasks.plotting.figures import finish, new_figure

BINS = 50
"""Bins of a map along each axis."""


@styled
def plot_scatter_density(scatter_df: Table, savename: str | Path | None = None) -> Figure:
    """One map of the points of closest approach for each layer of the passive volume.

    Args:
        scatter_df: table (DataFrame or mapping) with columns ``x``, ``y`` [m] and ``layer``, as
            from ``ScatterRecord.get_record(as_df=True)``.
        savename: where to save the figure; None: nowhere.
    """
    x, y, layer = (np.asarray(scatter_df[name]) for name in ("x", "y", "layer"))
    layers = np.unique(layer)
    columns = max(1, len(layers))
    figure = new_figure((max(4.0, 2 * H_MID / columns) * columns, H_MID / 2))
    axes = figure.subplots(1, columns, squeeze=False, sharex=True, sharey=True)[0]  # D-52
    image = None
    for axis, number in zip(axes, layers, strict=False):
        inside = layer == number
        *_, image = axis.hist2d(x[inside], y[inside], bins=BINS, cmap="viridis")
        axis.set_title(f"Layer {number:g}")
        axis.set_xlabel("x [m]")
        axis.set_aspect("equal")
        axis.grid(visible=False)
        figure.colorbar(image, ax=axis, shrink=0.8)
    axes[0].set_ylabel("y [m]")
    if image is None:
        axes[0].text(0.5, 0.5, "nothing recorded", ha="center", transform=axes[0].transAxes)
    return finish(figure, savename)


def plot_hit_density(hit_df: Table, savename: str | Path | None = None) -> Figure:
    """One map of the hits for each panel; the arguments are those of the scatters.

    Args:
        hit_df: table with columns ``x``, ``y`` [m] and ``layer``, as from
            ``HitRecord.get_record(as_df=True)``.
        savename: where to save the figure; None: nowhere.
    """
    return plot_scatter_density(hit_df, savename)
