"""The small study, run once for the session without Prefect; tests hurt copies of its store."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.common import TINY, tiny
from tomopt_tasks.runs.command import run_plain
from tomopt_tasks.runs.run import Request
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.store import Store


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A store in which the study has run, and what the command said."""
    folder = tmp_path_factory.mktemp("finished") / "store"
    return folder, list(run_plain(tiny(), open_store(folder), Request(str(TINY))).answer().lines)


@pytest.fixture
def store(finished: tuple[Path, list[str]], tmp_path: Path) -> Store:
    """A copy of that store, to be hurt."""
    shutil.copytree(finished[0], tmp_path / "store")
    return open_store(tmp_path / "store")


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Prefect server for the session; the folder of its result records."""
    home = tmp_path_factory.mktemp("prefect")
    os.environ["PREFECT_HOME"] = str(home / "home")
    os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(home / "results")
    from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings  # noqa: PLC0415
    from prefect.testing.utilities import prefect_test_harness  # noqa: PLC0415

    import tomopt_tasks.tasks  # noqa: F401, PLC0415 - sets the rest, then imports Prefect

    records = {PREFECT_LOCAL_STORAGE_PATH: home / "results"}
    with prefect_test_harness(server_startup_timeout=180), temporary_settings(records):
        yield home / "results"
