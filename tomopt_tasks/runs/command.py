"""What ``tomopt run`` does and says, with and without Prefect."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.config.study import Study
from tomopt_tasks.core import UserError
from tomopt_tasks.reports.table import comparison_table, older_note
from tomopt_tasks.reports.text import Answer, columns
from tomopt_tasks.reports.verdict import verdict
from tomopt_tasks.runs import body
from tomopt_tasks.runs.outputs import Outputs, outputs_of, write_report
from tomopt_tasks.runs.progress import progress_for
from tomopt_tasks.runs.run import Request, Run, begin, run_all
from tomopt_tasks.runs.telling import told
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class Finished:
    """A run that came to its end."""

    outputs: Outputs
    executed: int
    """Stages whose body ran."""

    @property
    def cached(self) -> int:
        """The others."""
        return len(self.outputs.data.stages) - self.executed

    def answer(self) -> Answer:
        """What the command says."""
        found = result(self.outputs)
        said = f"{self.executed} stages executed, {self.cached} cached"
        data = {**found.data, "executed": self.executed, "cached": self.cached}
        return Answer(data, [*found.lines, "", said])


def will_run(study: Study, store: Store, request: Request) -> bool:
    """Whether a stage is missing, so that the engine is needed."""
    try:
        looked = Run(study, store, request=request)
    except UserError:  # the run itself says it, where people look
        return False
    return bool(looked.forced) or any(step.ref is None for step in looked.steps)


def run_plain(study: Study, store: Store, request: Request) -> Finished:
    """Run a study without Prefect and write its report."""
    counted = len(body.executed)
    with (
        begin(study, store, "plain", progress=progress_for(), request=request) as run,
        told(run) as epoch,
    ):
        run_all(run, epoch)
    outputs = write_report(store, run.id, again=bool(run.executed))
    return Finished(outputs, len(body.executed) - counted)


def run_flow(flow: Callable[..., str], store: Store, request: Request) -> Finished:
    """Run a study as a Prefect flow, which writes its report.

    Args:
        flow: takes the study file, the changes, the store, and the rest of the request; gives the
            id of the run.
        store: where results lie.
        request: what was asked for.
    """
    counted = len(body.executed)
    asked = (request.study, dict(request.changes), store.url)
    run = flow(*asked, request.accept_code, list(request.force))
    return Finished(outputs_of(store, run), len(body.executed) - counted)


def result(outputs: Outputs) -> Answer:
    """Table, verdict and files of a run."""
    data = outputs.data
    said = verdict(data.evaluation, data.target)
    lines = [
        *columns(comparison_table(data.evaluation, data.target, data.older_code)),
        *([older_note(data.older_code)] if data.older_code else []),
        "",
        said,
        "",
        f"report    {outputs.report}",
        f"detector  {outputs.detector_yaml}",
        f"          {outputs.detector_csv}",
        *(f"film      {path}" for path in outputs.films.values()),
        *(f"file      {path}" for path in outputs.predictions.values()),
    ]
    facts: dict[str, Any] = {
        "study": data.study["study"],
        "run": data.provenance["run"],
        "evaluation": data.evaluation,
        "verdict": said,
        "older_code": data.older_code,
        "report": str(outputs.report),
        "detector": [str(outputs.detector_yaml), str(outputs.detector_csv)],
        "films": [str(path) for path in outputs.films.values()],
        "files": [str(path) for path in outputs.predictions.values()],
    }
    return Answer(facts, lines)
