"""Predict an object of your own with a detector that is in the store."""

from pathlib import Path

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import flow

from tomopt_tasks.project import default_store
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.runs.predicting import predict_object
from tomopt_tasks.store.opening import open_store


@flow(name="predict", flow_run_name="predict {file} with {run}")
def predict(file: str, run: str, design: str = "fit", store: str | None = None) -> list[float]:
    """The prediction for each object of a file, as in `tomopt predict`.

    Args:
        file: npz with the array x0 [m], (z, x, y) or (volume, z, x, y).
        run: a run, or a study for its last run.
        design: a design of the run; ``fit`` is the optimised one.
        store: folder of the results; default: data/store.
    """
    results = open_store(store or default_store(), create=False)
    answer = predict_object(results, find_run(results, run), Path(file), design)
    return [float(value) for value in answer.values]
