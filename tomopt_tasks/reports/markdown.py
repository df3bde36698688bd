"""The report as one Markdown text, for Prefect's page: it draws inline SVG and Mermaid offline."""

from collections.abc import Mapping, Sequence
from typing import Any

from tomopt_tasks.reports.data import ReportData, design_label
from tomopt_tasks.reports.forest import forest_figure, forest_rows
from tomopt_tasks.reports.graph import graph_mermaid
from tomopt_tasks.reports.history import loss_figure
from tomopt_tasks.reports.style import PAPER, data_link, svg_of
from tomopt_tasks.reports.table import comparison_table, older_note
from tomopt_tasks.reports.verdict import headline, verdict


def render_markdown(data: ReportData) -> str:
    """Verdict, table, pictures and stage graph; equal data give equal bytes."""
    parts = [
        f"# {data.title}: {headline(data.evaluation)}",
        verdict(data.evaluation, data.target),
        markdown_table(comparison_table(data.evaluation, data.target, data.older_code)),
    ]
    if data.older_code:
        parts.append(older_note(data.older_code))
    rows = forest_rows(data.evaluation)
    if rows:
        against = design_label(data.evaluation["reference"])
        parts.append(image(svg_of(forest_figure(rows, against), salt="forest"), "ratio of errors"))
    if data.history:
        parts += ["## Loss", loss_image(data.history)]
    if data.stages:
        parts += ["## Stages", f"```mermaid\n{graph_mermaid(data.stages)}\n```"]
    if data.command:
        parts += ["## Make it again", f"```shell\n{data.command}\n```"]
    return "\n\n".join(parts) + "\n"


def loss_image(history: Sequence[Mapping[str, Any]]) -> str:
    """The loss curve as a Markdown image that holds its own SVG."""
    return image(svg_of(loss_figure(history), salt="loss"), "loss over epochs")


def markdown_table(rows: Sequence[Mapping[str, str]]) -> str:
    """Equal rows as a Markdown table."""
    if not rows:
        return ""
    lines = [_line(list(rows[0])), _line(["---"] * len(rows[0]))]
    lines += [_line(list(row.values())) for row in rows]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def image(svg: str, words: str) -> str:
    """A picture on a light ground of its own, so that it can be read on a dark page."""
    ground = f'<rect width="100%" height="100%" fill="{PAPER}"/>'
    head, _, body = svg.partition(">")
    return f"![{words}]({data_link(f'{head}>{ground}{body}', 'image/svg+xml')})"
