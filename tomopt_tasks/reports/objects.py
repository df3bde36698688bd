"""Maps of an object: the true radiation lengths, or materials, beside what designs make of them."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from tomopt_tasks.reports import html
from tomopt_tasks.reports.data import ReportData, design_label, shown_designs
from tomopt_tasks.reports.style import WIDTH, inline_svg, styled

_LAYERS = 4
_MATERIALS = "tab10"


@styled
def object_figure(
    truth: np.ndarray, grids: Mapping[str, np.ndarray], names: Sequence[str], *, classes: bool
) -> Figure:
    """A column for the truth and one a design, a row a layer, the highest at the top.

    Args:
        truth: radiation lengths (z, x, y) [m], or numbers of materials.
        grids: design -> the same as it predicts them.
        names: designs in the order of the columns.
        classes: numbers of materials, in colours of their own.
    """
    columns = [("true", truth), *((design_label(name), grids[name]) for name in names)]
    layers = np.unique(np.linspace(0, len(truth) - 1, min(_LAYERS, len(truth))).round().astype(int))
    finite = [grid[np.isfinite(grid) & (grid > 0)] for _, grid in columns]
    norm = Normalize(0, 9) if classes else LogNorm(*_limits(np.concatenate(finite)))
    figure = Figure(figsize=(WIDTH, 0.4 + 1.9 * len(layers)))
    figure.set_layout_engine("none")  # margins are set by hand: labels of rows would be cut
    room = {"left": 0.04, "right": 0.88, "top": 0.95, "bottom": 0.01}
    axes = figure.subplots(
        len(layers),
        len(columns),
        squeeze=False,
        gridspec_kw=room | {"wspace": 0.05, "hspace": 0.05},
    )
    image = None
    for row, layer in zip(axes, layers[::-1], strict=True):
        for axis, (title, grid) in zip(row, columns, strict=True):
            shown = grid[layer].T if classes else np.clip(grid[layer].T, norm.vmin, norm.vmax)
            image = axis.imshow(
                shown, origin="lower", norm=norm, cmap=_MATERIALS if classes else "viridis_r"
            )
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)
            if layer == layers[-1]:
                axis.set_title(title, fontsize=9.5)
        row[0].set_ylabel(f"layer {layer + 1} of {len(truth)}")
    if image is not None and not classes:
        bar = figure.colorbar(image, cax=figure.add_axes((0.9, 0.25, 0.015, 0.5)))
        bar.set_label("radiation length [m]")
        if bar.solids is not None:
            bar.solids.set_rasterized(True)
    return figure


def _limits(values: np.ndarray) -> tuple[float, float]:
    """The range of the colours: all but the outermost values, which noise makes."""
    low, high = np.quantile(values, [0.01, 0.99]) if values.size else (0.1, 1.0)
    return float(low), float(max(high, 1.01 * low))


def object_section(data: ReportData) -> str:
    """The first test volume and what the designs make of it, where voxels are predicted."""
    names = [name for name in shown_designs(data.evaluation) if name in data.grids]
    if data.truth is None or not names:
        return ""
    classes = data.target.name == "material"
    figure = object_figure(data.truth, data.grids, names, classes=classes)
    picture = inline_svg(figure, salt="object", alt="True and predicted object")
    what = "material" if classes else "radiation length, on a logarithmic scale,"
    read = (
        f"The {what} of the voxels of the first test volume, from above: x to the right, y up, one "
        "row a layer. Left what is there, beside it what each design makes of one exposure."
    )
    figure_html = f"<figure>{picture}</figure>"
    return html.section(
        "predicted", f"Predicted against true {data.target.name}", read, figure_html
    )
