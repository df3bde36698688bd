"""How runs end that could not say so themselves: their process was killed, or was told to stop.

Prefect calls these hooks, in the process of the flow or, if that is gone, in that of the worker.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any, TypedDict

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.flows import Flow, FlowStateHook
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import deployment

from flows.telling import PREFIX, notify
from tomopt_tasks.core import UserError
from tomopt_tasks.interrupts import left_alone
from tomopt_tasks.reports.artifacts import page_key
from tomopt_tasks.reports.standing import Standing
from tomopt_tasks.runs.closing import Closed, close
from tomopt_tasks.store.opening import open_store


class Hooks(TypedDict):
    """The hooks as arguments of ``flow``."""

    on_failure: list[FlowStateHook[Any, Any]]
    on_crashed: list[FlowStateHook[Any, Any]]
    on_cancellation: list[FlowStateHook[Any, Any]]


@contextmanager
def stoppable() -> Iterator[None]:
    """A worker says why it stops a run, on a line that Prefect listens at while it has SIGTERM.

    So it has it under a worker, and a run ends in the middle of a step, which is lost. From a
    command line a run finishes its step.
    """
    with left_alone(signal.SIGTERM) if deployment.id is not None else nullcontext():
        yield


def failed(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """The flow has told it itself, if it came as far as a run; say what to do on its page."""
    log = flow_run_logger(flow_run, flow)
    log.error("It failed: %s. What is stored does not run again.", state.message or state.name)


def crashed(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """The process is gone without a word."""
    _close(flow, flow_run, "crashed", state.message or "its process was killed")


def cancelled(flow: Flow[Any, Any], flow_run: FlowRun, state: State) -> None:
    """Somebody has cancelled it."""
    _close(flow, flow_run, "cancelled", state.message or "somebody cancelled it")


def _close(flow: Flow[Any, Any], flow_run: FlowRun, how: str, why: str) -> None:
    """End the run in its manifest, and say on its page how to go on."""
    from tomopt_tasks.reports.status import render_status  # noqa: PLC0415 - brings matplotlib

    log = flow_run_logger(flow_run, flow)
    with get_client(sync_client=True) as client:
        seen = client.read_flow_run(flow_run.id)
        name, closed = _ended(seen, f"{how}: {why}")
        again = closed.words if closed is not None else seen.labels.get(f"{PREFIX}.again")
        if again is None:
            log.warning("It %s before it had begun; run it again.", _was(how))
            return
        words = f"It {_was(how)} ({why}). {again}"
        log.warning("%s", words)
        epochs = closed.epochs if closed is not None else (0, 0)
        client.create_artifact(
            ArtifactCreate(
                key=f"{page_key(name)}-status",
                type="markdown",
                description="how it stands",
                data=render_status(Standing(run=name, state=how, epochs=epochs, words=words)),
                flow_run_id=flow_run.id,
            )
        )
    if closed is not None:
        notify(closed.notify, how, name, words, {"flow_run": str(flow_run.id)})


def _ended(flow_run: FlowRun, why: str) -> tuple[str, Closed | None]:
    """Its name, and what its run has left behind if it had begun one."""
    run, url = (flow_run.labels.get(f"{PREFIX}.{name}") for name in ("run", "store"))
    if not isinstance(run, str) or not isinstance(url, str):
        return flow_run.name, None
    with suppress(UserError):
        return run, close(open_store(url, create=False), run, why)
    return run, None


def _was(how: str) -> str:
    return "crashed" if how == "crashed" else f"was {how}"


HOOKS = Hooks(on_failure=[failed], on_crashed=[crashed], on_cancellation=[cancelled])
"""For every flow."""
