"""Where muons scatter and where they hit the panels, of the designs that were asked for it."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tomopt_tasks.plotting.density import BINS, density_maps
from tomopt_tasks.plotting.figures import png_of
from tomopt_tasks.reports import html
from tomopt_tasks.reports.data import ReportData, design_label, final_design, shown_designs

COLUMNS = 5
"""Maps in a row at most."""
POINTS = 4
"""Points in a bin of a map, on average."""
DPI = 60
"""Resolution of the pictures [1/inch]."""

Arrays = Mapping[str, np.ndarray]
Range = tuple[float, float]


def density_section(data: ReportData) -> str:
    """Maps of the final design, and folded those of the designs that it is drawn beside."""
    final = final_design(data.evaluation)
    others = [name for name in shown_designs(data.evaluation) if name != final]
    shown = [name for name in (final, *others) if data.records.get(name)]
    if not shown:
        return ""
    parts: list[str] = []
    for name in shown:
        body = _pictures(data, name)
        label = escape(design_label(name))
        folded = f"<details><summary>{label}</summary>{body}</details>"
        parts.append(folded if parts else f"<h3>{label}</h3>{body}")
    array = next(name for name in data.records[shown[0]] if name.endswith("_x"))
    command = f"tomopt export {_run(data)}:'{shown[0]} on test' --array {array}"
    read = (
        "Test volumes at the largest exposure, of the muons that were recorded; seen from above. "
        "Points of closest approach by layer of voxels, hits by panel. The numbers are in the "
        f"store: <code>{escape(command)}</code>."
    )
    return html.section("records", "Where muons scatter and hit", read, *parts)


def _run(data: ReportData) -> str:
    return str(data.provenance.get("run", "RUN"))


def _pictures(data: ReportData, design: str) -> str:
    """The maps of each record of a design."""
    arrays = data.records[design]
    made = ""
    if "scatter_x" in arrays:
        width, depth = data.study["world"]["size"]
        extent = ((0.0, width), (0.0, depth))
        figure = _maps(arrays, "scatter", "layer", partial(_height, data.study), extent)
        made += _shown(figure, arrays, "scatter", f"Points of closest approach, {design}")
    if "hit_x" in arrays:
        panels = [panel["name"] for panel in data.evaluation["designs"][design]["geometry"]]
        extent = _range(arrays["hit_x"]), _range(arrays["hit_y"])
        n_above = sum(name.startswith("above") for name in panels)
        figure = _maps(arrays, "hit", "panel", panels.__getitem__, extent, n_above)
        made += _shown(figure, arrays, "hit", f"Hits, {design}")
    return made


def _maps(
    arrays: Arrays,
    kind: str,
    by: str,
    title: Callable[[int], str],
    extent: tuple[Range, Range],
    columns: int = COLUMNS,
) -> Figure:
    """The maps of one record, over the same range, the finer the more points there are."""
    layer = arrays[f"{kind}_{by}"]
    table = {"x": arrays[f"{kind}_x"], "y": arrays[f"{kind}_y"], "layer": layer}
    bins = math.isqrt(len(layer) // max(1, len(np.unique(layer))) // POINTS)
    return density_maps(
        table, title, columns=min(columns, COLUMNS), extent=extent, bins=min(max(bins, 8), BINS)
    )


def _shown(figure: Figure, arrays: Arrays, kind: str, alt: str) -> str:
    pairs = np.stack([arrays[f"{kind}_volume"], arrays[f"{kind}_muon"]], 1)
    n_muons = len(np.unique(pairs, axis=0))
    caption = f"<p>{escape(alt.partition(',')[0])}: {len(pairs)}, of {n_muons} muons</p>"
    return caption + html.image(png_of(figure, DPI), "image/png", alt)


def _range(values: np.ndarray) -> Range:
    """The range of some numbers; of none, 0 to 1."""
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)


def _height(study: Mapping[str, Any], layer: int) -> str:
    """The range of heights of a layer of voxels, 0 at the top."""
    top, step = study["world"]["passive"][1], study["world"]["voxel"]
    return f"z {top - (layer + 1) * step:.3g} to {top - layer * step:.3g} m"
