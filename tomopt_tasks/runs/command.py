"""What ``tomopt run`` does and says, with and without Prefect."""

from collections.abc import Callable, Mapping, Sequence
from unicodedata import east_asian_width

from tomopt_tasks.config.study import Study
from tomopt_tasks.reports.table import comparison_table
from tomopt_tasks.reports.verdict import verdict
from tomopt_tasks.runs import body
from tomopt_tasks.runs.outputs import Outputs, outputs_of, write_report
from tomopt_tasks.runs.progress import progress_for
from tomopt_tasks.runs.run import Source, begin, run_all
from tomopt_tasks.store.store import Store


def run_plain(study: Study, store: Store, source: Source) -> list[str]:
    """Run a study without Prefect; what to print."""
    counted = len(body.executed)
    with begin(study, store, "plain", progress=progress_for(), source=source) as run:
        run_all(run)
    return _finished(write_report(store, run.id), counted)


def run_flow(flow: Callable[..., str], store: Store, source: Source) -> list[str]:
    """Run a study as a Prefect flow; what to print.

    Args:
        flow: takes the study file, the changes and the store, and returns the id of the run.
        store: where results lie.
        source: the study file and the changes.
    """
    counted = len(body.executed)
    run = flow(source[0], dict(source[1]), store.url)
    return _finished(outputs_of(store, run), counted)


def _finished(outputs: Outputs, counted: int) -> list[str]:
    executed, total = len(body.executed) - counted, len(outputs.data.stages)
    said = f"{executed} stages executed, {total - executed} cached"
    return [*result_lines(outputs), "", said]


def result_lines(outputs: Outputs) -> list[str]:
    """Table, verdict and files of a run."""
    data = outputs.data
    return [
        *table_lines(comparison_table(data.evaluation, data.target)),
        "",
        verdict(data.evaluation, data.target),
        "",
        f"report    {outputs.report}",
        f"detector  {outputs.detector_yaml}",
        f"          {outputs.detector_csv}",
    ]


def table_lines(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Equal rows in columns."""
    columns = list(rows[0])
    cells = [columns, *([row[name] for name in columns] for row in rows)]
    widths = [max(_width(line[i]) for line in cells) for i in range(len(columns))]
    lines = [
        "  ".join(
            cell + " " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)
        )
        for line in cells
    ]
    rule = "  ".join("-" * width for width in widths)
    return [line.rstrip() for line in (lines[0], rule, *lines[1:])]


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)
