"""Figures of a campaign as files of their own, for a paper or a page on the web."""

import io
from collections.abc import Iterator

from matplotlib.figure import Figure

from tomopt_tasks.reports.campaign_data import CampaignData, TableData, entry_label
from tomopt_tasks.reports.campaign_figures import looks_of, table_forest, tables_forest
from tomopt_tasks.reports.campaign_words import slug_of
from tomopt_tasks.reports.forest import forest_figure
from tomopt_tasks.reports.side_view import side_view_figure

RESOLUTION = 90
"""Dots per inch: a picture as wide as a page of text, some tens of kilobytes."""


def campaign_pictures(data: CampaignData, most: int) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of each picture; equal data give equal bytes.

    A forest plot of every comparison and, of several, one of all; the best fit of a comparison from
    the side, beside what it is compared with.

    Args:
        data: what the report shows.
        most: comparisons that have pictures of their own; the others are in the common one.
    """
    rows = tables_forest(data.tables)
    if len(rows) > 1:
        yield "forest.png", _png(forest_figure(rows, "the best baseline of its row"))
    for table in data.tables[:most]:
        slug = slug_of(table.label)
        if listed := table_forest(table):
            yield f"forest-{slug}.png", _png(forest_figure(listed, entry_label(table.reference)))
        if table.predictions:
            yield f"side-view-{slug}.png", _png(_side_view(table))


def _side_view(table: TableData) -> Figure:
    looks = looks_of(table)
    shown = {name: looks[entry] for name, (entry, _) in table.shown.items()}
    return side_view_figure(table.study, table.predictions, list(table.predictions), shown)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=RESOLUTION, facecolor="white", metadata={"Software": None}
    )
    return buffer.getvalue()
