"""A campaign on a Dask cluster gives the keys and bits of one machine; skipped without Dask."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.pipeline.common import TINY
from tests.pipeline.test_campaign import NOBODY, at_once
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.campaigns.cluster import check_workers
from tomopt_tasks.campaigns.doing import where
from tomopt_tasks.campaigns.plan import look_up_all, plan_campaign
from tomopt_tasks.campaigns.run import crew_of, run_campaign
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.store.opening import open_store

TWELVE = """\
axes:
  seed: {seeds: 2}
  detector:
    points:
      a: {}
      b: {"detectors.start.groups.above.z[0]": 1.7}
      c: {"detectors.start.groups.below.z[2]": 0.1}
  constraints.area: [4 m2, 6 m2]
judge: {apart: [constraints.area]}
"""
ROOT = Path(__file__).parents[2]


def planned(folder, text=TWELVE):
    file = Path(folder) / "c.yaml"
    short = 'set: {"fit.phases[0].epochs": 1, compare: [fit, baseline_1]}\n'
    file.write_text(f"version: 1\ncampaign: c\nbase: {TINY}\n{short}{text}", encoding="utf-8")
    return plan_campaign(load_campaign(file))


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """Address of a standing cluster with two workers of one thread."""
    pytest.importorskip("distributed", reason="Dask is not installed: pip install .[dask]")
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    processes = [subprocess.Popen([*command, *options, "--scheduler-file", str(file)], **quiet)]
    try:
        address = _address(file)
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard"]
        worker += ["--nthreads", "1", "--nworkers", "2", "--local-directory", str(folder)]
        processes.append(subprocess.Popen(worker, **quiet))
        _await_workers(address, 2)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(timeout=30)


def _address(file):
    for _ in range(1200):
        if file.exists() and file.read_text().strip().endswith("}"):
            return json.loads(file.read_text())["address"]
        time.sleep(0.1)
    raise AssertionError("the scheduler has not started")


def _await_workers(address, count):
    from distributed import Client  # noqa: PLC0415 - an extra

    with Client(address, timeout=120, set_as_default=False) as client:
        client.wait_for_workers(count, timeout=120)


def shas(plan, store):
    return {key: ref.sha256 for key, ref in look_up_all(plan, store).items()}


@pytest.mark.long
def test_twelve_members_on_two_workers_give_the_same_keys_and_bits(
    tmp_path, scheduler, monkeypatch
):
    plan = planned(tmp_path)
    assert len(plan.members) == 12
    cluster = open_store(tmp_path / "cluster")
    with crew_of(scheduler) as crew:
        done = run_campaign(plan, cluster, crew)
    assert done.failures == {}
    assert done.executed == len(plan.stages)  # every stage ran once
    made = Counter(plan.stages[key].label for key in done.refs)
    # one training bank a seed; one validation and one test bank for all
    assert (made["train bank"], made["valid bank"], made["test bank"]) == (2, 1, 1)
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    here = open_store(tmp_path / "here")
    run_campaign(plan, here, NOBODY)
    assert shas(plan, cluster) == shas(plan, here)
    assert len(shas(plan, here)) == len(plan.stages)


@pytest.mark.parametrize(
    ("workers", "says"),
    [
        ({}, "the scheduler at tcp://a:1 has no workers; start some with 'dask worker tcp://a:1"),
        ({"w": {"nthreads": 2}}, "has 2 threads, but a job needs a process of its own"),
    ],
    ids=["none", "threads"],
)
def test_a_cluster_with_threads_or_without_workers_is_refused(workers, says):
    with pytest.raises(UserError) as caught:
        check_workers("tcp://a:1", workers)
    assert says in str(caught.value)
    check_workers("tcp://a:1", {"w": {"nthreads": 1}})


def test_a_scheduler_that_does_not_answer_is_one_sentence(monkeypatch):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install .[dask]")
    monkeypatch.setattr("tomopt_tasks.campaigns.cluster.PATIENCE", 0.2)
    with (
        pytest.raises(UserError, match="no Dask scheduler answers at tcp"),
        crew_of("tcp://127.0.0.1:9"),
    ):
        pass


def test_dask_that_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match="Dask is not installed"), crew_of("tcp://127.0.0.1:8786"):
        pass


def test_the_address_comes_from_the_option_else_from_the_settings(monkeypatch):
    monkeypatch.setenv("TOMOPT_DASK", "tcp://a:1")
    assert where() == "tcp://a:1"
    assert where(dask="tcp://b:2") == "tcp://b:2"
    assert where(3) == 3
    with pytest.raises(UserError, match="leave out --jobs or --dask"):
        where(3, "tcp://b:2")
