"""Why a design wins: the detector from the side, to scale, above the map of accepted muons."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.reports.numbers import percent
from tomopt_tasks.reports.scene import MM, Scene, scene_in_mm, tracks_in_mm
from tomopt_tasks.reports.style import (
    BATH,
    FAINT,
    INK,
    MUTED,
    SLAG,
    STEEL,
    WIDTH,
    Series,
    series,
    styled,
)  # fmt: skip

_FILL = {"steel": STEEL, "bath": BATH, "slag": SLAG}
_TRACKS = 14
SHORT_NAME = 12
"""Letters that leave room for the accepted share beside a name."""
ABOVE = 19.0
"""Points from the axes to a name that stands above that share."""
_DENSITY = LinearSegmentedColormap.from_list(
    "density", [(0.45, 0.70, 0.95, 0.0), (0.30, 0.58, 0.92, 0.60), (0.78, 0.16, 0.50, 1.0)]
)


@styled
def side_view_figure(
    study: Mapping[str, Any],
    predictions: Mapping[str, Predictions],
    names: Sequence[str],
    looks: Mapping[str, Series] | None = None,
) -> Figure:
    """One column a design: side view (x, z) in mm, to scale, over the accepted muons (x, y).

    Args:
        study: as JSON.
        predictions: of the designs for the test bank, the same muons for all.
        names: designs from left to right: before, after, baseline.
        looks: how they are drawn in other figures.
    """
    scene = scene_in_mm(study)
    looks = looks or series(predictions)
    ratios = [scene.height, 2 * scene.side[1]]
    figure = Figure(figsize=(WIDTH, 0.9 + 0.285 * WIDTH * (sum(ratios) / (2 * scene.side[0]))))
    axes = figure.subplots(
        2, len(names), sharex=True, sharey="row", squeeze=False, height_ratios=ratios
    )
    densities = {
        name: predictions[name].accepted_map.T / max(1, predictions[name].truth.size)
        for name in names
    }
    highest = max(float(density.max()) for density in densities.values()) or 1.0
    longest = max(len(looks[name].label) for name in names)
    pad = ABOVE if longest > SHORT_NAME else None
    image = None
    for column, name in zip(axes.T, names, strict=True):
        _draw_side(column[0], scene, predictions[name], looks[name])
        column[0].set_title(looks[name].label, fontsize=10.5, color=looks[name].colour, pad=pad)
        image = _draw_map(column[1], scene, densities[name], highest)
        _draw_outlines(column[1], predictions[name].geometry, looks[name])
    axes[0, 0].set_ylabel("z [mm]")
    axes[1, 0].set_ylabel("y [mm]")
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes[1]), shrink=0.85, pad=0.02, aspect=30)
        bar.set_label("accepted muons per cell and volume")
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
    return figure


def _draw_side(ax: Axes, scene: Scene, predictions: Predictions, look: Series) -> None:
    draw_object(ax, scene)
    path = tracks_in_mm(predictions.track, scene)
    for accepted, colour, width in ((False, MUTED, 0.5), (True, look.colour, 0.75)):
        for x, z in path[predictions.track_accepted == accepted][:_TRACKS][:, :, [0, 2]].swapaxes(
            1, 2
        ):
            ax.plot(x, z, color=colour, linewidth=width, alpha=0.85 if accepted else 0.6,
                    linestyle="-" if accepted else (0, (1.5, 2)), zorder=2)  # fmt: skip
    for panel in predictions.geometry:
        low = MM * (panel["xy"][0] - panel["span"][0] / 2)
        ax.plot([low, low + MM * panel["span"][0]], [MM * panel["z"]] * 2, color=look.colour,
                linewidth=1.7, solid_capstyle="butt", zorder=4)  # fmt: skip
    kept = percent(float(predictions.accepted.sum()), float(predictions.aimed.sum()))
    ax.annotate(
        f"accepts {kept}", (1, 1), (0, 5), xycoords="axes fraction", textcoords="offset points",
        ha="right", fontsize=9,
    )  # fmt: skip
    ax.set_xlim(-0.5 * scene.side[0], 1.5 * scene.side[0])
    ax.set_ylim(-0.02 * scene.height, 1.02 * scene.height)
    ax.set_aspect("equal")


def draw_object(ax: Axes, scene: Scene) -> None:
    """The passive volume from the side, with the ladle if there is one."""
    for box in scene.boxes:
        corner, size = (
            (box.low[0], box.low[2]),
            (box.high[0] - box.low[0], box.high[2] - box.low[2]),
        )
        ax.add_patch(Rectangle(corner, *size, facecolor=_FILL[box.role], alpha=0.55, linewidth=0))
    outline = Rectangle(
        (0, scene.bottom), scene.side[0], scene.top - scene.bottom,
        fill=False, edgecolor=INK, linewidth=0.9, zorder=3,
    )  # fmt: skip
    ax.add_patch(outline)
    for level in scene.levels or ():
        ax.plot([0, scene.side[0]], [level] * 2, color=INK, linewidth=0.7, dashes=(5, 3), zorder=3)
        ax.annotate(
            f"{level:.0f}", (scene.side[0], level), (3, 0), textcoords="offset points",
            va="center", fontsize=7, color=INK,
        )  # fmt: skip


def _draw_map(ax: Axes, scene: Scene, density: np.ndarray, highest: float) -> AxesImage:
    x, y = scene.side
    extent = (-0.5 * x, 1.5 * x, -0.5 * y, 1.5 * y)
    image = ax.imshow(
        np.ma.masked_equal(density, 0), origin="lower", extent=extent, cmap=_DENSITY,
        vmin=0, vmax=highest,
    )  # fmt: skip
    ax.add_patch(Rectangle((0, 0), x, y, fill=False, edgecolor=INK, linewidth=0.9))
    ax.set_xlabel("x [mm]")
    ax.set_xticks([0, x / 2, x])
    ax.grid(visible=True, color=FAINT, linewidth=0.4)
    return image


def _draw_outlines(ax: Axes, geometry: Sequence[Mapping[str, Any]], look: Series) -> None:
    """Panels from above: solid for the upper, dashed for the lower ones."""
    for panel in geometry:
        size = [MM * value for value in panel["span"]]
        corner = [MM * centre - side / 2 for centre, side in zip(panel["xy"], size, strict=True)]
        ax.add_patch(
            Rectangle(
                (corner[0], corner[1]),
                *size,
                fill=False,
                edgecolor=look.colour,
                linewidth=0.9,
                linestyle="-" if panel["pos"] == "above" else (0, (3, 2)),
            )
        )
