"""The report of a run: figures, one HTML page, one Markdown text, tables to take away."""

from tomopt_tasks.core import lazy_exports

_HERE = "tomopt_tasks.reports"

__all__ = [
    "ForestRow",
    "ReportData",
    "Target",
    "comparison_table",
    "detector_csv",
    "detector_table",
    "detector_yaml",
    "exposure_figure",
    "forest_figure",
    "forest_rows",
    "graph_mermaid",
    "headline",
    "history_figure",
    "loss_figure",
    "loss_image",
    "markdown_table",
    "predicted_figure",
    "render_html",
    "render_markdown",
    "side_view_figure",
    "target_of",
    "waterfall_figure",
]

__getattr__ = lazy_exports(
    _HERE,
    {
        "ForestRow": f"{_HERE}.forest",
        "ReportData": f"{_HERE}.data",
        "Target": f"{_HERE}.data",
        "comparison_table": f"{_HERE}.table",
        "detector_csv": f"{_HERE}.export",
        "detector_table": f"{_HERE}.export",
        "detector_yaml": f"{_HERE}.export",
        "exposure_figure": f"{_HERE}.exposure",
        "forest_figure": f"{_HERE}.forest",
        "forest_rows": f"{_HERE}.forest",
        "graph_mermaid": f"{_HERE}.graph",
        "headline": f"{_HERE}.verdict",
        "history_figure": f"{_HERE}.history",
        "loss_figure": f"{_HERE}.history",
        "loss_image": f"{_HERE}.markdown",
        "markdown_table": f"{_HERE}.markdown",
        "predicted_figure": f"{_HERE}.predicted",
        "render_html": f"{_HERE}.page",
        "render_markdown": f"{_HERE}.markdown",
        "side_view_figure": f"{_HERE}.side_view",
        "target_of": f"{_HERE}.data",
        "waterfall_figure": f"{_HERE}.waterfall",
    },
)
