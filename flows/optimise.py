"""Optimise a detector: a study goes in; stored results, an evaluation and a report come out.

Every step below is stored under a key made of all that it depends on, and is looked up before it
runs. So this flow can be killed anywhere and started again, and a second run computes nothing.
"""

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow

from tomopt_tasks import tasks
from tomopt_tasks.config.load import load_study
from tomopt_tasks.project import default_store
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.runs.outputs import write_report
from tomopt_tasks.runs.progress import progress_for
from tomopt_tasks.runs.run import Request, begin
from tomopt_tasks.store.opening import open_store


@flow(name="optimise", flow_run_name="optimise {study}")
def optimise(
    study: str = "data/studies/ladle_furnace.yaml",
    changes: dict[str, str] | None = None,
    store: str | None = None,
    accept_code_changes: bool = False,  # noqa: FBT001, FBT002 - a box in Prefect's form
    force: list[str] | None = None,
) -> str:
    """Run a study; the id of the run.

    Args:
        study: the study file.
        changes: place in the file -> other value, e.g. {"fit.phases[1].epochs": "20"}.
        store: folder of the results; default: data/store.
        accept_code_changes: take stored results of older code; tables mark them.
        force: stages to run again, e.g. "evaluate" or "fit_epoch@3".
    """
    plan = load_study(study, list((changes or {}).items()))
    results = open_store(store or default_store())
    call, progress = tasks.ThroughPrefect(), progress_for()
    request = Request(study, changes or {}, accept_code_changes, force or ())
    with begin(plan, results, "prefect", call, progress, request=request) as run:
        page = Page(run.id)
        run.all(tasks.make_volumes)  # ladles with a known fill height: train, valid, test
        run.all(tasks.transport_muons)  # muons through them, seen above and below; no detector yet
        run.all(tasks.start_fit)  # the detector as the study places it
        for _ in run.each(tasks.fit_epoch):  # one look at all training scans, one better detector
            page.progress(*run.epochs_done, run.history)
        run.all(tasks.predict)  # every design on the banks for calibration and test
        run.all(tasks.evaluate)  # errors, and ratios to the best baseline
    page.report(write_report(results, run.id).data)
    return run.id


if __name__ == "__main__":
    optimise()
