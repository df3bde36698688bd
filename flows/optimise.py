"""Optimise a detector: a study goes in; stored results, an evaluation and a report come out.

Every step below is stored under a key made of all that it depends on, and is looked up before it
runs. So this flow can be killed anywhere and started again, and a second run computes nothing.
"""

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow

from flows.endings import HOOKS, stoppable
from flows.watching import watched
from tomopt_tasks import tasks
from tomopt_tasks.project import default_store
from tomopt_tasks.runs.form import AS_WRITTEN, Changes, Quick, Stages, StudyPath, study_from
from tomopt_tasks.runs.outputs import write_report
from tomopt_tasks.runs.progress import progress_for
from tomopt_tasks.runs.run import Request, begin
from tomopt_tasks.store.opening import open_store


@flow(name="optimise", flow_run_name="optimise {study}", **HOOKS)
def optimise(
    study: StudyPath = "data/studies/ladle_furnace.yaml",
    changes: Changes | None = None,
    store: str | None = None,
    accept_code_changes: bool = False,  # noqa: FBT001, FBT002 - a box in Prefect's form
    force: Stages | None = None,
    quick: Quick = AS_WRITTEN,
) -> str:
    """Run a study; the id of the run.

    Args:
        study: the study file, ending in .yaml or .yml.
        changes: place in the file -> other value, e.g. {"fit.phases[1].epochs": 20}.
        store: folder of the results; default: data/store.
        accept_code_changes: take stored results of older code; tables mark them.
        force: stages to run again, e.g. "evaluate" or "fit_epoch@3".
        quick: the entries that are changed most.
    """
    plan, words = study_from(study, changes, quick)
    results = open_store(store or default_store())
    request = Request(study, words, accept_code_changes, force or ())
    call, progress = tasks.ThroughPrefect(), progress_for()
    with (
        stoppable(),
        begin(plan, results, "prefect", call, progress, request=request) as run,
        watched(run) as watch,
    ):
        run.all(tasks.make_volumes)  # objects with a known target: train, valid, test
        run.all(tasks.transport_muons)  # muons through them, seen above and below; no detector yet
        run.all(tasks.start_fit)  # the detector as the study places it
        run.all(tasks.try_start)  # and other starts, if it names some: the worse ones are given up
        for _ in run.each(tasks.fit_epoch):  # one look at all training scans, one better detector
            watch.epoch()
        run.all(tasks.train_model)  # where a network reads the muons: one for each other design
        run.all(tasks.predict)  # every design on the banks for calibration and test
        run.all(tasks.evaluate)  # errors, and ratios to the best baseline
    watch.page.report(write_report(results, run.id, again=bool(run.executed)).data)
    return run.id


if __name__ == "__main__":
    optimise()
