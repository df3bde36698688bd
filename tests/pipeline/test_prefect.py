"""The same pipeline as a Prefect flow: the store decides, Prefect mirrors and shows."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.common import TINY, counted, flip_bit, objects, tiny
from tests.unit.store.matrix import RECORD
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.store.opening import open_store

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def optimise(prefect):
    return importlib.import_module("flows.optimise").optimise


def keys() -> dict[str, str]:
    return {stage.label: stage.key for stage in plan_study(tiny())}


def flow_ran(optimise, store) -> list[str]:
    """Labels of the stages whose body a flow ran."""
    labels = {key: label for label, key in keys().items()}
    with counted() as ran:
        optimise(str(TINY), {}, store.url)
    return [labels[key] for key in ran]


def test_a_flow_over_a_finished_study_runs_nothing_and_publishes_all(optimise, store, prefect):
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    assert flow_ran(optimise, store) == []
    (run,) = (run for run in store.runs() if run.startswith("tiny-"))
    with get_client(sync_client=True) as client:
        found = {artifact.key: artifact for artifact in client.read_artifacts()}
    assert {f"{run}-progress", f"{run}-metrics", f"{run}-report"} <= found.keys()
    report = str(found[f"{run}-report"].data)
    assert "data:image/svg+xml;base64" in report
    assert "```mermaid" in report
    assert float(found[f"{run}-progress"].data) == 100.0
    assert set(keys().values()) <= {path.name for path in prefect.glob("*")}


def test_lost_and_damaged_objects_are_made_again_although_prefect_has_their_records(
    optimise, store
):
    plan = keys()
    before = {key: path.read_bytes() for key, path in objects(store).items()}
    assert flow_ran(optimise, store) == []
    objects(store)[plan["coarse epoch 1"]].unlink()
    flip_bit(objects(store)[plan["evaluation"]])
    again = open_store(store.url)
    assert flow_ran(optimise, again) == ["coarse epoch 1", "evaluation"]
    assert {key: path.read_bytes() for key, path in objects(again).items()} == before


def test_a_crafted_object_fails_its_reader_once_and_is_made_again_in_the_same_flow(
    optimise, store, tmp_path
):
    plan = keys()
    before = store.find("checkpoint", plan["fine epoch 2"])
    files = objects(store)
    files[plan["fit on test"]].unlink()
    RECORD["shape bomb"](files[plan["fine epoch 2"]], tmp_path, tmp_path)
    ran = flow_ran(optimise, open_store(store.url))
    assert ran == ["fit on test", "fine epoch 2", "fit on test"]
    assert open_store(store.url).find("checkpoint", plan["fine epoch 2"]) == before


def test_without_prefects_records_nothing_runs_either(optimise, store, prefect):
    shutil.rmtree(prefect, ignore_errors=True)
    assert flow_ran(optimise, store) == []


def test_a_page_that_cannot_be_published_does_not_end_the_flow(
    optimise, store, monkeypatch, caplog
):
    artifacts = importlib.import_module("tomopt_tasks.reports.artifacts")

    def fail(*_: object, **__: object):
        raise ConnectionError("no server")

    for name in ("create_progress_artifact", "create_table_artifact", "create_markdown_artifact"):
        monkeypatch.setattr(artifacts, name, fail)
    assert flow_ran(optimise, store) == []
    assert caplog.text.count("does not show this run completely") == 1


def test_hits_beyond_fifty_are_not_sent_to_prefect(optimise, store, monkeypatch):
    tasks = importlib.import_module("tomopt_tasks.tasks")
    called = []
    monkeypatch.setattr(tasks, "SHOWN_HITS", 4)
    monkeypatch.setattr(tasks, "TASKS", dict.fromkeys(tasks.TASKS, called.append))
    assert flow_ran(optimise, store) == []
    assert len(called) == 4


def test_numbers_that_diverge_are_not_tried_again_but_a_hiccup_of_the_disk_is(prefect):
    import errno  # noqa: PLC0415

    from prefect.client.schemas.objects import TaskRun  # noqa: PLC0415
    from prefect.states import Failed  # noqa: PLC0415

    tasks = importlib.import_module("tomopt_tasks.tasks")
    run = TaskRun(task_key="fit_epoch", dynamic_key="0")
    for error, again in (
        (OSError(errno.EIO, "hiccup"), True),
        (OSError(errno.ENOSPC, "full"), False),
        (ValueError("NaN"), False),
    ):
        assert tasks.is_transient(tasks.fit_epoch, run, Failed(data=error)) is again


def tomopt(folder: Path, *words: str) -> list[str]:
    """Run the command in a project of its own; its lines."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PREFECT")
    }
    done = subprocess.run(
        [sys.executable, "-m", "tomopt_tasks.cli", *words],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


def servers(folder: Path) -> list[str]:
    """Processes that still work in a project."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve() == folder.resolve():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


def test_the_command_makes_the_bits_of_the_plain_runner_and_survives_an_empty_database(
    finished, tmp_path
):
    project = tmp_path / "project"
    project.mkdir()
    (project / "prefect.yaml").touch()
    assert tomopt(project, "run", str(TINY))[-1] == "19 stages executed, 0 cached"
    ours, theirs = (open_store(path) for path in (project / "data" / "store", finished[0]))
    for stage in plan_study(tiny()):
        assert ours.find(stage.kind, stage.key) == theirs.find(stage.kind, stage.key)
    assert (project / ".tomopt" / "prefect" / "prefect.db").exists()
    shutil.rmtree(project / ".tomopt")
    assert tomopt(project, "run", str(TINY))[-1] == "0 stages executed, 19 cached"
    assert servers(project) == []
