"""The layers and panels of a volume in three dimensions (spec 10.1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from mpl_toolkits.mplot3d.art3d import Poly3DCollection  # type: ignore[import-untyped]

from tomopt_tasks.callbacks.history import PanelView, panel_views
from tomopt_tasks.plotting.appearance import LBL_SZ, LEG_SZ, styled
from tomopt_tasks.plotting.figures import finish, new_figure

Corner = tuple[float, float, float]
Limits = tuple[float, float]


@styled
def draw_volume(
    volume: Any,  # noqa: ANN401
    *,
    xlim: Limits | None = None,
    ylim: Limits | None = None,
    zlim: Limits | None = None,
    savename: str | Path | None = None,
) -> Figure:
    """Passive layers as blue boxes, panels (and heat maps) as red rectangles.

    Args:
        volume: a ``Volume``.
        xlim: range of the x axis [m]; None: everything.
        ylim: range of the y axis [m].
        zlim: range of the z axis [m].
        savename: where to save the figure; None: nowhere.
    """
    figure = new_figure((9, 9), layout=None)
    axis: Any = figure.add_subplot(projection="3d")
    panels = panel_views(volume.get_detectors())
    faces = [(face, "tab:blue", 1.0) for layer in volume.get_passives() for face in _box(layer)]
    faces += [(_rectangle(panel), "tab:red", 0.2) for panel in panels]
    for face, colour, alpha in sorted(faces, key=lambda part: min(point[2] for point in part[0])):
        axis.add_collection3d(
            Poly3DCollection([face], facecolors=colour, edgecolors="0.3", lw=0.3, alpha=alpha)
        )
    corners = [corner for face, _, _ in faces for corner in face]
    # x limits for x, y limits for y (D-46)
    for k, (name, given) in enumerate({"x": xlim, "y": ylim, "z": zlim}.items()):
        values = [corner[k] for corner in corners] or [0.0, 1.0]
        getattr(axis, f"set_{name}lim")(given or (min(values), max(values)))
        getattr(axis, f"set_{name}label")(f"{name} [m]", fontsize=0.6 * LBL_SZ)
    axis.tick_params(labelsize=0.5 * LBL_SZ)
    axis.set_title("Volume layers")
    handles = [
        Patch(color="tab:red", alpha=0.2, label="Active Detector Layers"),
        Patch(color="tab:blue", label="Passive Layers"),
    ]
    axis.legend(handles=handles, fontsize=0.7 * LEG_SZ)
    return finish(figure, savename)


def _rectangle(panel: PanelView) -> list[Corner]:
    (x, y), (width, depth), z = panel["xy"], panel["span"], panel["z"]
    return _ring((x - 0.5 * width, x + 0.5 * width), (y - 0.5 * depth, y + 0.5 * depth), z)


def _ring(x: Sequence[float], y: Sequence[float], z: float) -> list[Corner]:
    return [(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)]


def _box(layer: Any) -> list[list[Corner]]:  # noqa: ANN401
    """Bottom and the four sides of a layer; its top is the next one's bottom."""
    width, depth = (float(value) for value in layer.lw)
    top = float(layer.z)
    low = _ring((0.0, width), (0.0, depth), top - float(layer.size))
    high = _ring((0.0, width), (0.0, depth), top)
    sides = [[low[k], low[k - 1], high[k - 1], high[k]] for k in range(4)]
    return [low, *sides]
