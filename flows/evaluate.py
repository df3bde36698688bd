"""Judge a detector of your own against the designs of a run, on the same objects and muons."""

from pathlib import Path

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow

from flows.chores import chore
from flows.endings import HOOKS, stoppable
from tomopt_tasks import tasks
from tomopt_tasks.project import default_store
from tomopt_tasks.runs.form import DetectorPath, Name
from tomopt_tasks.runs.judging import judge
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.store.opening import open_store

AGAIN = "Predictions that are stored do not run again; run it again with the same parameters."


@flow(name="evaluate", flow_run_name="evaluate {detector} against {against}", **HOOKS)
def evaluate(
    detector: DetectorPath, against: Name, store: str | None = None
) -> list[dict[str, str]]:
    """Predict the banks of a run with a detector; one row a design, as in `tomopt evaluate`.

    Args:
        detector: the detector file.
        against: a run, or a study for its last run.
        store: folder of the results; default: data/store.
    """
    results = open_store(store or default_store(), create=False)
    run = find_run(results, against)
    name, facts = f"{run}-{Path(detector).stem}", {"detector": Path(detector).stem, "against": run}
    with stoppable(), chore("evaluation", name, facts, AGAIN) as told:
        judged = judge(results, run, Path(detector), tasks.ThroughPrefect())
        told.page.table(judged.rows, "comparison")
        told.words, told.numbers = f"{judged.name} was judged against {run}", {"run": run}
    return judged.rows
