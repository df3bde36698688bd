"""Judge a detector of your own against the designs of a run, on the same objects and muons."""

from pathlib import Path

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow

from tomopt_tasks import tasks
from tomopt_tasks.project import default_store
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.runs.form import DetectorPath, Name
from tomopt_tasks.runs.judging import judge
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.store.opening import open_store


@flow(name="evaluate", flow_run_name="evaluate {detector} against {against}")
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
    judged = judge(results, run, Path(detector), tasks.ThroughPrefect())
    Page(f"{run}-{judged.name}").table(judged.rows, "comparison")
    return judged.rows
