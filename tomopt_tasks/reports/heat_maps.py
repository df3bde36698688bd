"""Response of the heat maps of a design over their planes."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tomopt_tasks.reports import html
from tomopt_tasks.reports.data import ReportData, design_label, final_design
from tomopt_tasks.reports.scene import MM
from tomopt_tasks.reports.style import INK, WIDTH, inline_svg, styled

_COLUMNS = 4


@styled
def heat_map_figure(
    geometry: Sequence[Mapping[str, Any]], side: tuple[float, float]
) -> Figure | None:
    """One picture a heat map: relative efficiency, 0 to 1, and the outline of the volume.

    Args:
        geometry: panels of a design; those without a mixture are left out.
        side: width of the passive volume in x and y [mm].
    """
    panels = [panel for panel in geometry if panel.get("mixture")]
    if not panels:
        return None
    n_rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(WIDTH, 2.6 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
    image = None
    for axis, panel in zip(axes, panels, strict=False):
        values, extent = _response(panel)
        image = axis.imshow(
            values.T, origin="lower", extent=extent, cmap="viridis", vmin=0, vmax=1,
            interpolation="bilinear",
        )  # fmt: skip
        axis.add_patch(Rectangle((0, 0), *side, fill=False, edgecolor=INK, linewidth=0.9))
        axis.set_title(f"{panel['name']}, z = {MM * panel['z']:.0f} mm", fontsize=9)
        axis.set_xlabel("x [mm]")
        axis.grid(visible=False)
    axes[0].set_ylabel("y [mm]")
    for axis in axes[len(panels) :]:
        axis.remove()
    if image is not None:
        bar = figure.colorbar(image, ax=list(axes[: len(panels)]), shrink=0.8, aspect=30)
        bar.set_label("relative efficiency")
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
    return figure


def _response(panel: Mapping[str, Any]) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """Efficiency over that of the best place, as (x, y), and the range of both axes [mm]."""
    found = sampled(panel, 100)
    x_low, x_high, y_low, y_high = (MM * value for value in found["extent"])
    return found["values"].numpy(), (x_low, x_high, y_low, y_high)


def sampled(panel: Mapping[str, Any], n_points: int = 200) -> Any:  # noqa: ANN401 - needs torch
    """The ``ResponseMap`` of a heat map that a row of the history holds."""
    settings = importlib.import_module("tomopt_tasks.detectors.settings")
    build = importlib.import_module("tomopt_tasks.detectors.heatmap_build").build_heat_map
    sample = importlib.import_module("tomopt_tasks.callbacks.heatmap_gif").response_map
    torch = importlib.import_module("torch")
    square = panel["square"]
    built = settings.PanelSettings(
        kind="heat_map", xy=square["xy"], z=panel["z"], span=(square["side"],) * 2,
        mixture=panel["mixture"],
    )  # fmt: skip
    return sample(build(built, torch.float64), n_points=n_points)


def heat_map_section(data: ReportData) -> str:
    """The maps of the final design, where it has any."""
    name = final_design(data.evaluation)
    width, depth = (MM * float(value) for value in data.study["world"]["size"])
    figure = heat_map_figure(data.evaluation["designs"][name]["geometry"], (width, depth))
    if figure is None:
        return ""
    picture = inline_svg(figure, salt="heat", alt="Response of the heat maps")
    read = (
        f"Relative efficiency of each plane of the {design_label(name)} detector, seen from above; "
        "the square is the passive volume. In the side view and in the tables a heat map stands as "
        "the rectangle of two standard deviations to each side of its mean."
    )
    return html.section("heat", "Where the planes see", read, f"<figure>{picture}</figure>")
