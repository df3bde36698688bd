"""Where tracks come closest and where muons hit, layer by layer (spec 10.1)."""

from collections.abc import Callable, Sequence
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
    return finish(density_maps(scatter_df), savename)


def plot_hit_density(hit_df: Table, savename: str | Path | None = None) -> Figure:
    """One map of the hits for each panel; the arguments are those of the scatters.

    Args:
        hit_df: table with columns ``x``, ``y`` [m] and ``layer``, as from
            ``HitRecord.get_record(as_df=True)``.
        savename: where to save the figure; None: nowhere.
    """
    return plot_scatter_density(hit_df, savename)


@styled
def density_maps(
    table: Table,
    names: Callable[[int], str] = "Layer {:g}".format,
    *,
    columns: int | None = None,
    extent: Sequence[Sequence[float]] | None = None,
    bins: int = BINS,
) -> Figure:
    """One map for each layer that points lie in.

    Args:
        table: columns ``x``, ``y`` [m] and ``layer``.
        names: title of a layer.
        columns: maps in a row at most; None: all in one row.
        extent: range of x and of y that every map covers [m]; None: that of its points.
        bins: along each axis.
    """
    x, y, layer = (np.asarray(table[name]) for name in ("x", "y", "layer"))
    layers = np.unique(layer)
    n_columns = max(1, min(len(layers), columns or len(layers)))
    n_rows = max(1, -(-len(layers) // n_columns))
    width = max(4.0, 2 * H_MID / n_columns) if columns is None else 4.0
    figure = new_figure((width * n_columns, H_MID / 2 * n_rows))
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)  # D-52
    axes = grid.ravel()
    for axis, number in zip(axes, layers, strict=False):
        inside = layer == number
        *_, image = axis.hist2d(x[inside], y[inside], bins=bins, range=extent, cmap="viridis")
        axis.set_title(names(number.item()))
        axis.set_xlabel("x [m]")
        axis.set_aspect("equal")
        axis.grid(visible=False)
        figure.colorbar(image, ax=axis, shrink=0.8)
    for axis in grid[:, 0]:
        axis.set_ylabel("y [m]")
    for axis in axes[max(1, len(layers)) :]:
        axis.remove()
    if not len(layers):
        axes[0].text(0.5, 0.5, "nothing recorded", ha="center", transform=axes[0].transAxes)
    return figure
