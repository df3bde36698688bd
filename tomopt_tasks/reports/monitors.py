"""Films of a fit, made of its rows in the store by the drawing code of the monitors of a notebook.

Drawing histories and heat maps brings torch along: it is imported where a film is asked for.
"""

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure

from tomopt_tasks.plotting.figures import film_of
from tomopt_tasks.reports import html
from tomopt_tasks.reports.data import ReportData
from tomopt_tasks.reports.heat_maps import sampled
from tomopt_tasks.reports.standing import metrics_of

Row = Mapping[str, Any]

WORDS = {
    "metric_logger": "Losses and metrics",
    "panel_metric_logger": "Losses and panels",
    "heat_map_gif": "The first heat map",
}
"""Kind of a monitor -> what its film shows."""


def films(data: ReportData) -> dict[str, bytes]:
    """Kind of each monitor that the study names -> its film (GIF)."""
    rows = _moments(data)
    made = {}
    for settings in data.study["report"].get("monitors", ()):
        shown = _spread(len(rows), settings["pictures"])
        figures = _DRAW[settings["kind"]](data.study, rows, shown)
        made[settings["kind"]] = film_of(figures, settings["length"])
    return made


def film_section(data: ReportData) -> str:
    """The films that were made."""
    if not data.films:
        return ""
    parts = [
        f"<h3>{escape(WORDS[kind])}</h3>{html.image(film, 'image/gif', WORDS[kind])}"
        for kind, film in data.films.items()
    ]
    read = "From the start to the end, from the rows of the epochs; GIFs of the same lie beside."
    return html.section("films", "The fit as a film", read, *parts)


def _moments(data: ReportData) -> list[Row]:
    """The start and the end of each epoch, up to the one that the fit was stopped after."""
    stops = [number for number, row in enumerate(data.history, start=1) if row.get("stopped")]
    rows = list(data.history[: min(stops, default=None)])
    before = {"smooth": rows[0].get("smooth") if rows else None, **data.first}
    return [before, *rows]


def _spread(n_moments: int, n_pictures: int) -> list[int]:
    """Numbers of the moments that are drawn: evenly spread, the last one among them."""
    last = n_moments - 1
    if n_pictures > last:
        return list(range(n_moments))
    step = last / max(1, n_pictures - 1)
    return [last - math.floor(k * step + 0.5) for k in reversed(range(n_pictures))]


def _losses(rows: Sequence[Row], name: str) -> list[float]:
    """One number an epoch, infinite where there was none; empty if there never was one."""
    values = [row.get(name) for row in rows]
    known = any(value is not None for value in values)
    return [math.inf if value is None else value for value in values] if known else []


def _metrics(rows: Sequence[Row]) -> dict[str, list[float]]:
    """Name -> one number an epoch, the main metric first; infinite where there was none."""
    found = [metrics_of(row) for row in rows]
    named = {name: [each.get(name) for each in found] for row in found for name in row}
    return {n: [math.inf if v is None else v for v in values] for n, values in named.items()}


def _draw_losses(study: Row, rows: Sequence[Row], shown: Sequence[int]) -> Iterator[Figure]:
    return _histories(study, rows, shown, lambda _: [])


def _draw_panels(study: Row, rows: Sequence[Row], shown: Sequence[int]) -> Iterator[Figure]:
    def panels(row: Row) -> list[dict[str, Any]]:
        smooth = row.get("smooth")
        names = ("pos", "xy", "z", "span")
        return [
            {**{name: panel[name] for name in names}, "smooth": smooth}
            for panel in row.get("geometry") or ()
        ]

    return _histories(study, rows, shown, panels)


def _histories(
    study: Row, rows: Sequence[Row], shown: Sequence[int], panels: Callable[[Row], list[Any]]
) -> Iterator[Figure]:
    """The pictures of a metric logger."""
    draw = importlib.import_module("tomopt_tasks.plotting.history").plot_optimisation_history
    history = importlib.import_module("tomopt_tasks.callbacks.history").History
    world, epochs = study["world"], rows[1:]
    whole = history(
        training=_losses(epochs, "loss"),
        validation=_losses(epochs, "valid"),
        metrics=_metrics(epochs),
        lower_is_better={
            name: about["lower_is_better"]
            for row in epochs
            for name, about in (row.get("metrics") or {}).items()
        },
        box={"lw": list(world["size"]), "z": list(world["passive"])},
    )
    for number in shown:
        yield draw(whole.until(number, number, panels(rows[number])))


def _draw_heat_map(study: Row, rows: Sequence[Row], shown: Sequence[int]) -> Iterator[Figure]:
    """The pictures of the film of a heat map."""
    del study
    draw = importlib.import_module("tomopt_tasks.plotting.heatmap").plot_response_map
    for number in shown:
        geometry = rows[number].get("geometry")
        if geometry:
            yield draw(sampled(geometry[0]))


_DRAW = {
    "metric_logger": _draw_losses,
    "panel_metric_logger": _draw_panels,
    "heat_map_gif": _draw_heat_map,
}
