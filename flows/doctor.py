"""``tomopt doctor``: what is wrong on this machine, and what can be mended at once."""

import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import psutil

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings
from prefect.states import Crashed

from flows.access import api_settings
from flows.machine import Machine, Started, end, forget_machine, read_machine
from flows.serving import prefect_server
from flows.telling import PREFIX
from tomopt_tasks.commands.answer import Answer
from tomopt_tasks.commands.health import Finding, answer_of, environment_findings, killed_runs
from tomopt_tasks.core import UserError
from tomopt_tasks.project import default_store
from tomopt_tasks.runs.closing import close
from tomopt_tasks.store.opening import open_store

SERVERS = ("flows.serving", "prefect server", "prefect worker", "prefect.server")
OPEN = (StateType.RUNNING, StateType.CANCELLING, StateType.PENDING)
CLOCKS = 2.0
"""Seconds by which two clocks may differ."""


def examine(store: str | None = None, *, mend: bool = False) -> Answer:
    """Look at versions, disks, store, processes and runs; exit code 1 if something stays wrong.

    Args:
        store: where results lie; default: that of the project.
        mend: end orphans, and end in Prefect and in the store the runs whose process is gone.
    """
    url = store or default_store()
    findings = [*environment_findings(url), *_processes(mend=mend), *_orphans(mend=mend)]
    findings += _runs(mend=mend)
    findings += killed_runs(url, mend=mend)
    return answer_of(findings)


def _processes(*, mend: bool) -> Iterator[Finding]:
    """Whether what ``up`` has started still runs."""
    try:
        machine = read_machine()
    except UserError as problem:
        yield Finding("services", str(problem), "delete the file")
        return
    if machine is None:
        yield Finding("services", "nothing is up")
        return
    dead = [each for each in machine.processes if each.process() is None]
    if not dead:
        names = ", ".join(each.role for each in machine.processes)
        yield Finding("services", f"up at {machine.url}: {names}")
    elif machine.server is not None:
        yield Finding("services", f"{_names(dead)} ended", "tomopt up starts it again")
    else:
        if mend:
            end(machine.processes)
            forget_machine()
        yield Finding("services", f"{_names(dead)} ended", "tomopt up starts them again", mend)


def _names(processes: list[Started]) -> str:
    return ", ".join(each.role for each in processes)


def _orphans(*, mend: bool) -> Iterator[Finding]:
    """Servers and workers of this project that nobody will end."""
    found = list(orphans(read_quietly()))
    for process in found:
        words = f"process {process.pid} is left over: {_command(process)[:80]}"
        if mend:
            for each in [*process.children(recursive=True), process]:
                with suppress(psutil.NoSuchProcess):
                    each.terminate()
            _, left = psutil.wait_procs([process], timeout=15)
            for each in left:
                each.kill()
        yield Finding("orphans", words, "tomopt doctor --mend ends it", mend)
    if not found:
        yield Finding("orphans", "none")


def read_quietly() -> Machine | None:
    """What runs, or nothing if that cannot be read."""
    with suppress(UserError):
        return read_machine()
    return None


def orphans(machine: Machine | None) -> Iterator[psutil.Process]:
    """Servers and workers with Prefect's folder of this project that ``up`` does not know.

    A server that belongs to a command ends with it, and is none while the command lives.
    """
    known = {each.pid for each in machine.processes if each.process()} if machine else set()
    home = str(PREFECT_HOME.value())
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            command = _command(process)
            if process.pid in known or not any(name in command for name in SERVERS):
                continue
            if process.environ().get("PREFECT_HOME") != home:
                continue
            family = {parent.pid for parent in process.parents()}
            if known & family or _has_owner(process):
                continue
            yield process


def _has_owner(process: psutil.Process) -> bool:
    """Whether the command that started it still lives: what has lost it belongs to process 1."""
    parent = process.parent()
    return parent is not None and parent.pid != 1 and "python" in " ".join(parent.cmdline()[:1])


def _command(process: psutil.Process) -> str:
    return " ".join(process.cmdline()[1:])


def _runs(*, mend: bool) -> list[Finding]:
    """Runs that Prefect takes for running although their process is gone."""
    machine = read_quietly()
    if machine is not None and machine.server is not None:
        with temporary_settings(api_settings(machine)):
            return _stale(mend=mend)
    if PREFECT_API_URL.value():
        return _stale(mend=mend)
    if not (PREFECT_HOME.value() / "prefect.db").exists():
        return [Finding("runs", "Prefect has not run anything yet")]
    if not mend:
        return [Finding("runs", "no server is up: not looked at; --mend starts one for it")]
    with prefect_server():
        return _stale(mend=True)


def _stale(*, mend: bool) -> list[Finding]:
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(OPEN)))
        )
        runs = client.read_flow_runs(flow_run_filter=wanted, limit=200)
        gone = [run for run in runs if is_gone(run)]
        for run in gone if mend else []:
            _crash(client, run)
    found = [
        Finding("runs", f"{run.name} ({run.state_name}): its process is gone", CURE, mend)
        for run in gone
    ]
    return found or [Finding("runs", f"{len(runs)} open, all of them alive or elsewhere")]


CURE = "tomopt doctor --mend marks it as crashed; run it again to go on"


def is_gone(run: FlowRun) -> bool:
    """Whether the process of a run was on this machine and is no more."""
    labels: dict[str, Any] = dict(run.labels)
    if labels.get(f"{PREFIX}.host") != platform.node():
        return False
    try:
        process = psutil.Process(int(labels[f"{PREFIX}.pid"]))
        later = process.create_time() > float(labels[f"{PREFIX}.began"]) + CLOCKS
        return later or bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _crash(client: SyncPrefectClient, run: FlowRun) -> None:
    words = f"its process was gone when the doctor looked ({time.strftime('%Y-%m-%d %H:%M')})"
    client.set_flow_run_state(run.id, Crashed(message=words), force=True)
    name, url = run.labels.get(f"{PREFIX}.run"), run.labels.get(f"{PREFIX}.store")
    with suppress(UserError):
        close(open_store(str(url), create=False), str(name), f"crashed: {words}")
