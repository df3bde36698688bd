"""A project of its own with the deployments of this one, served by `tomopt up` for some tests."""

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pipeline" / "tiny.yaml"
STUDY = "data/studies/tiny.yaml"
CAMPAIGN_FILE = "data/campaigns/small.yaml"
CAMPAIGN = """\
version: 1
campaign: small
base: ../studies/tiny.yaml
set: {"fit.phases[1].epochs": 400}
axes: {seed: {seeds: 2}}
"""
HEARTBEAT = "30"
PATIENCE = 400
"""Seconds until something counts as missing; a busy machine needs many of them."""
EVERY_MINUTE = """
  - name: minutely
    entrypoint: flows/optimise.py:optimise
    parameters: {study: data/studies/tiny.yaml, changes: {seed: 11}}
    concurrency_limit: *one
    schedules:
      - {slug: minutely, cron: "* * * * *", active: false}
    work_pool: *cpu
"""


class Project:
    """A folder with a study and what runs for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "data" / "store"
        (folder / "data" / "studies").mkdir(parents=True)
        (folder / "data" / "campaigns").mkdir()
        (folder / STUDY).write_text(TINY.read_text())
        (folder / CAMPAIGN_FILE).write_text(CAMPAIGN)
        (folder / "flows").symlink_to(ROOT / "flows")
        (folder / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text() + EVERY_MINUTE)

    def tomopt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the command in the project, as in a new terminal."""
        ours = ("PREFECT", "TOMOPT", "OMP")
        environment = {name: text for name, text in os.environ.items() if name[:7] not in ours}
        return subprocess.run(
            [sys.executable, "-m", "tomopt_tasks.cli", *words],
            env={
                **{n: t for n, t in environment.items() if not n.startswith(ours)},
                "PYTHONPATH": str(ROOT),
                "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": HEARTBEAT,
                "PREFECT_WORKER_QUERY_SECONDS": "2",
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """Everything that still works for the project."""
        home = str(self.folder / ".tomopt" / "prefect")
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("PREFECT_HOME") == home:
                    found.append(process)
            except psutil.Error:
                continue
        return found


class Api:
    """The server of a project as a program sees it."""

    def __init__(self, client: Any, url: str, project: Project) -> None:
        self.client, self.url, self.project = client, url, project

    def deployment(self, name: str) -> Any:
        return self.client.read_deployment_by_name(name)

    def start(self, name: str, **parameters: Any) -> Any:
        """Have a deployment run the small study."""
        return self.client.create_flow_run_from_deployment(
            self.deployment(name).id, parameters={"study": STUDY, **parameters}
        )

    def wait(self, ready: Callable[[], Any], what: str, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := ready()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
            time.sleep(0.25)
        return found

    def ended(self, run: Any, seconds: float = PATIENCE) -> Any:
        """The run when it has ended."""

        def final() -> Any:
            seen = self.client.read_flow_run(run.id)
            return seen if seen.state and seen.state.is_final() else None

        return self.wait(final, f"the end of {run.name}", seconds)

    def checkpoints(self) -> int:
        return len(list((self.project.store / "checkpoint").glob("??/*.zarr.zip")))

    def in_the_middle(self, run: Any, epochs: int = 5) -> Any:
        """The run as soon as it has stored some new epochs."""
        before = self.checkpoints()
        self.wait(lambda: self.checkpoints() >= before + epochs, "some epochs", PATIENCE)
        seen = self.client.read_flow_run(run.id)
        assert not seen.state.is_final()
        return seen

    def workers_of_campaigns(self) -> list[psutil.Process]:
        """Processes that work for a campaign."""
        return [p for p in self.project.processes() if "spawn_main" in " ".join(p.cmdline())]

    def artifacts(self, run: Any) -> dict[str, str]:
        """Last word of the key -> the text of the newest artifact of a run."""
        found = [a for a in self.client.read_artifacts() if a.flow_run_id == run.id]
        found.sort(key=lambda artifact: artifact.created)
        return {str(a.key).rpartition("-")[2]: str(a.data) for a in found}


@contextmanager
def served(project: Project) -> Iterator[Api]:
    """`tomopt up`, and in the end `tomopt down`, which leaves no process behind."""
    settings = importlib.import_module("prefect.settings")
    orchestration = importlib.import_module("prefect.client.orchestration")
    try:
        done = project.tomopt("up")
        assert done.returncode == 0, done.stderr
        url = done.stdout.split()[1]
        assert url.startswith("http://127.0.0.1:")
        with (
            settings.temporary_settings({settings.PREFECT_API_URL: f"{url}/api"}),
            orchestration.get_client(sync_client=True) as client,
        ):
            yield Api(client, url, project)
    finally:
        down = project.tomopt("down")
        left = project.processes()
        for process in left:
            process.kill()
    assert down.returncode == 0, down.stderr
    assert left == []
