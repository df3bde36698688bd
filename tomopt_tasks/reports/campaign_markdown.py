"""A campaign as one Markdown text, for Prefect's page: verdict, leaderboards, ratios and losses."""

from collections.abc import Iterator

from tomopt_tasks.reports.campaign_data import CampaignData, TableData, entry_label
from tomopt_tasks.reports.campaign_figures import histories_figure, table_forest
from tomopt_tasks.reports.campaign_table import ties, without_ties
from tomopt_tasks.reports.campaign_words import campaign_headline, campaign_verdict
from tomopt_tasks.reports.forest import forest_figure
from tomopt_tasks.reports.markdown import image, markdown_table
from tomopt_tasks.reports.style import svg_of


def render_campaign_markdown(data: CampaignData, most: int) -> str:
    """What a person reads first; equal data give equal bytes.

    Args:
        data: what the page of the campaign shows.
        most: comparisons that have pictures; the others have their table.
    """
    parts = [f"# {data.title}: {campaign_headline(data)}", campaign_verdict(data)]
    for index, table in enumerate(data.tables):
        board = markdown_table(without_ties(table))
        parts += [f"## {table.label or 'Leaderboard'}", board]
        parts += ["\n".join(f"- {sentence}" for sentence in ties(table))] if ties(table) else []
        if index < most:
            parts += _pictures(table, f"t{index}")
    parts += ["## Make it again", f"```shell\n{data.command}\n```"]
    return "\n\n".join(parts) + "\n"


def _pictures(table: TableData, salt: str) -> Iterator[str]:
    rows = table_forest(table)
    if rows:
        figure = forest_figure(rows, entry_label(table.reference))
        yield image(svg_of(figure, salt=f"{salt}forest"), "ratio of errors")
    if any(table.histories.values()):
        yield image(svg_of(histories_figure(table), salt=f"{salt}loss"), "loss over epochs")
