"""The small study, run once for the session without Prefect; tests hurt copies of its store."""

import shutil
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
    return folder, run_plain(tiny(), open_store(folder), Request(str(TINY)))


@pytest.fixture
def store(finished: tuple[Path, list[str]], tmp_path: Path) -> Store:
    """A copy of that store, to be hurt."""
    shutil.copytree(finished[0], tmp_path / "store")
    return open_store(tmp_path / "store")
