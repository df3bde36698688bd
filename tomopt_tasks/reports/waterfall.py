"""Where the muons go: generated, aimed, accepted, used, for every design."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tomopt_tasks.reports.numbers import percent
from tomopt_tasks.reports.style import MUTED, WIDTH, Series, plain_log, series, styled

_STEPS = ("generated", "aimed", "accepted", "used")
_COLUMNS = 4


@styled
def waterfall_figure(evaluation: Mapping[str, Any]) -> Figure:
    """Muons per volume at each step, and the share that each step keeps."""
    designs = evaluation["designs"]
    looks = series(designs)
    columns = min(_COLUMNS, len(designs))
    rows = -(-len(designs) // columns)
    figure = Figure(figsize=(WIDTH, 1.9 * rows))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, (name, design) in zip(axes, designs.items(), strict=False):
        _draw_steps(ax, design, looks[name])
    for ax in axes[len(designs) :]:
        ax.set_visible(False)
    top = max(max(_per_volume(design)) for design in designs.values())
    axes[0].set_xscale("log")
    axes[0].set_xlim(1, max(top, 10) ** 1.5)
    axes[0].set_ylim(3.6, -0.6)
    plain_log(axes[0].xaxis, (10.0**k for k in range(1 + int(math.log10(max(top, 10))))))
    axes[0].set_yticks(range(4), labels=_STEPS)
    return figure


def _per_volume(design: Mapping[str, Any]) -> list[float]:
    """Mean number of muons per volume at each step."""
    volumes = max(1, sum(row["n"] for row in design["per_target"]))
    return [design["waterfall"][step] / volumes for step in _STEPS]


def _draw_steps(ax: Axes, design: Mapping[str, Any], look: Series) -> None:
    counts = _per_volume(design)
    for position, count in enumerate(counts):
        ax.barh(
            position, max(count, 1.0), height=0.72, color=look.colour, alpha=0.35 + 0.2 * position
        )
        text = f"{count:,.0f}".replace(",", " ")
        if position:
            text += f"  ({percent(count, counts[position - 1])})"
        ax.annotate(
            text, (max(count, 1.0), position), (4, 0), textcoords="offset points", va="center"
        )
    ax.set_title(look.label)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("muons per volume", color=MUTED)
    ax.grid(visible=False)
