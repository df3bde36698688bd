"""What the limits of a detector cost: shadow prices, from the slopes of the last epochs of a fit.

The limits hold exactly, whatever the optimiser does: shares of the budget are a softmax, and after
each step heights are projected into their zone and apart. So the price of a limit is what the loss
would gain if it gave way, its Lagrange multiplier, and that follows from the gradient.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import sqrt
from statistics import mean, stdev
from typing import Any

from tomopt_tasks.detectors.separation import TOUCH, pushes
from tomopt_tasks.reports.numbers import with_error

LAST = 10
"""Epochs that are averaged over: each sees other muons, and the detector hardly moves any more."""

Row = Mapping[str, Any]


def limit_table(study: Mapping[str, Any], history: Sequence[Row]) -> list[dict[str, str]]:
    """One row a limit that the detector has reached: what a little more room would be worth.

    Args:
        study: as JSON.
        history: one row an epoch, with slopes and geometry; see ``EpochRow``.

    Returns:
        Rows with the limit, the step and the change of the loss for it with its standard error; no
        rows if the epochs tell no slopes.
    """
    rows = [row for row in history if row.get("height_slopes") and not row.get("searching")][-LAST:]
    if len(rows) < 2:
        return []
    log = study["loss"]["kind"] == "expected_mse"
    found = [*_area(study, rows), *_heights(study, rows)]
    unit, scale = ("error [%]", 100.0) if log else ("loss", 1.0)
    return [
        {
            "limit": limit,
            "room": room,
            f"change of the {unit}": _with_spread([scale * step * value for value in values]),
        }
        for limit, room, step, values in found
    ]


Limit = tuple[str, str, float, list[float]]
"""What it is; the step; its size in SI; the slope of the loss along it in each epoch."""


def _area(study: Mapping[str, Any], rows: Sequence[Row]) -> list[Limit]:
    slopes = [row["budget_slope"] for row in rows if row.get("budget_slope") is not None]
    area = study["constraints"]["area"]
    if len(slopes) < 2 or area is None:
        return []
    budget = study["detectors"][study["fit"]["start"]]["budget"]
    by_area = [slope * budget / area for slope in slopes]
    return [(f"area of {area:g} m²", "0.1 m² more", 0.1, by_area)]


def _heights(study: Mapping[str, Any], rows: Sequence[Row]) -> list[Limit]:
    """Faces of zones and neighbours, from the first layer on."""
    found: list[Limit] = []
    first = 0
    for layer in study["detectors"][study["fit"]["start"]]["layers"]:
        place = slice(first, first + len(layer["panels"]))
        found += _layer(layer, place, study["constraints"]["gap"], rows)
        first = place.stop
    return found


def _layer(
    layer: Mapping[str, Any], place: slice, gap: float, rows: Sequence[Row]
) -> Iterator[Limit]:
    """The limits of one layer that its panels have reached, from the lowest up."""
    panels = rows[-1]["geometry"][place]
    z, low, high = [panel["z"] for panel in panels], layer["z"] - layer["size"], layer["z"]
    each = [pushes(z, row["height_slopes"][place], gap, low, high) for row in rows]
    order = sorted(range(len(z)), key=z.__getitem__)
    names, heights = [panels[k]["name"] for k in order], [z[k] for k in order]
    more = "1 mm more", 1e-3
    if heights[0] <= low + TOUCH:
        yield f"{names[0]} above {low:g} m", *more, [-push.low for push in each]
    for k, (a, b) in enumerate(pairwise(heights)):
        if b - a <= gap + TOUCH:
            what = f"{names[k]} and {names[k + 1]} {1e3 * gap:g} mm apart"
            yield what, *more, [-push.gaps[k] for push in each]
    if heights[-1] >= high - TOUCH:
        yield f"{names[-1]} below {high:g} m", *more, [-push.high for push in each]


def _with_spread(values: Sequence[float]) -> str:
    return with_error(mean(values), stdev(values) / sqrt(len(values)))
