"""Small views of detector panels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from tomopt_tasks.callbacks.history import Box, PanelView
from tomopt_tasks.plotting.appearance import LBL_SZ, category_colour

_TEXT = 0.5 * LBL_SZ
_PLANES = (("x", "z"), ("y", "z"), ("x", "y"))


def draw_views(
    axes: Sequence[Axes], side: str, panels: Sequence[PanelView], box: Box | None
) -> None:
    """Panels of one side from the front (xz), the side (yz) and above (xy).

    Args:
        axes: three axes.
        side: title of the views.
        panels: any number of panels; colours repeat after ten (D-47).
        box: the passive volume, whose outline is hatched in the view from above.
    """
    for axis, (across, up) in zip(axes, _PLANES, strict=True):
        for index, panel in enumerate(panels):
            _draw_panel(axis, panel, across, up, index)
        if up == "y" and box is not None:
            axis.add_patch(Rectangle((0, 0), *box["lw"], fill=False, hatch="//", edgecolor="0.7"))
        axis.autoscale_view()
        axis.set_xlabel(f"{across} [m]", fontsize=_TEXT)
        axis.set_ylabel(f"{up} [m]", fontsize=_TEXT)
        axis.tick_params(labelsize=_TEXT)
    axes[0].set_title(side, fontsize=1.2 * _TEXT)


def _draw_panel(axis: Axes, panel: PanelView, across: str, up: str, index: int) -> None:
    colour = category_colour(index)
    low = [centre - 0.5 * span for centre, span in zip(panel["xy"], panel["span"], strict=True)]
    if up == "y":
        corner = (low[0], low[1])
        axis.add_patch(Rectangle(corner, *panel["span"], fill=False, edgecolor=colour, lw=1.5))
        return
    k = "xy".index(across)
    axis.plot([low[k], low[k] + panel["span"][k]], [panel["z"], panel["z"]], color=colour, lw=2)


def draw_response(axis: Axes, smooth: float) -> None:
    """Response of a sigmoid panel along one axis, in half-widths.

    Args:
        axis: where to draw.
        smooth: width of the edge in half-widths; > 0.
    """
    distance = np.linspace(-2, 2, 101)
    axis.plot(distance, response(distance, smooth))
    axis.set_xlim(-2, 2)
    axis.set_ylim(0, 1.05)
    axis.set_xlabel("distance [half-widths]", fontsize=_TEXT)
    axis.set_ylabel("response", fontsize=_TEXT)
    axis.tick_params(labelsize=_TEXT)


def response(distance: np.ndarray, smooth: float) -> np.ndarray:
    """sigmoid((1 - |d|) / smooth) / sigmoid(1 / smooth), without overflow (spec 4.2)."""
    argument = (1 - np.abs(distance)) / smooth
    logistic: np.ndarray = 0.5 * (1 + np.tanh(0.5 * argument))
    peak = 0.5 * (1 + float(np.tanh(0.5 / smooth)))
    return logistic / peak
