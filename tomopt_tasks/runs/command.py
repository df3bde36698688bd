"""What ``tomopt run`` does and says, with and without Prefect."""

from collections.abc import Callable

from tomopt_tasks.config.study import Study
from tomopt_tasks.reports.table import comparison_table, older_note
from tomopt_tasks.reports.text import columns
from tomopt_tasks.reports.verdict import verdict
from tomopt_tasks.runs import body
from tomopt_tasks.runs.outputs import Outputs, outputs_of, write_report
from tomopt_tasks.runs.progress import progress_for
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.store.store import Store


def run_plain(study: Study, store: Store, request: Request) -> list[str]:
    """Run a study without Prefect; what to print."""
    counted = len(body.executed)
    with begin(study, store, "plain", progress=progress_for(), request=request) as run:
        run_all(run)
    return _finished(write_report(store, run.id), counted)


def run_flow(flow: Callable[..., str], store: Store, request: Request) -> list[str]:
    """Run a study as a Prefect flow; what to print.

    Args:
        flow: takes the study file, the changes, the store, and the rest of the request; gives the
            id of the run.
        store: where results lie.
        request: what was asked for.
    """
    counted = len(body.executed)
    asked = (request.study, dict(request.changes), store.url)
    run = flow(*asked, request.accept_code, list(request.force))
    return _finished(outputs_of(store, run), counted)


def _finished(outputs: Outputs, counted: int) -> list[str]:
    executed, total = len(body.executed) - counted, len(outputs.data.stages)
    said = f"{executed} stages executed, {total - executed} cached"
    return [*result_lines(outputs), "", said]


def result_lines(outputs: Outputs) -> list[str]:
    """Table, verdict and files of a run."""
    data = outputs.data
    return [
        *columns(comparison_table(data.evaluation, data.target, data.older_code)),
        *([older_note(data.older_code)] if data.older_code else []),
        "",
        verdict(data.evaluation, data.target),
        "",
        f"report    {outputs.report}",
        f"detector  {outputs.detector_yaml}",
        f"          {outputs.detector_csv}",
    ]
