"""The stages as Prefect tasks, in pipeline order; their bodies are in ``stages.py``.

The flow has computed the key and looked into the store before it calls a task: the store decides
what is a hit, and Prefect's own result record mirrors that decision for its UI. So a task is called
with ``refresh_cache`` whenever the store has no result, and a task whose record was lost finds the
committed object instead of running its body again. Arguments and results are small JSON.
"""

import errno
from collections.abc import Mapping
from typing import Any

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect import Task, task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.client.schemas.objects import TaskRun
from prefect.context import TaskRunContext

from tomopt_tasks.runs.body import Work, perform

SHOWN_HITS = 50
"""Hits of one run that pass through their task, so that the UI shows them as cached."""

TRANSIENT = frozenset(
    {errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.ESTALE}
)

StageTask = Task[[Work], dict[str, Any]]


def stage_key(context: TaskRunContext, parameters: Mapping[str, Any]) -> str:  # noqa: ARG001
    """The key that the flow passed: the policy computes nothing."""
    return str(parameters["work"]["key"])


def is_transient(
    task: Task[Any, Any],  # noqa: ARG001
    run: TaskRun,  # noqa: ARG001
    state: Any,  # noqa: ANN401 - State[Any] has no instances: Prefect's states are plain State
) -> bool:
    """Whether trying again may help: a hiccup of disk, network or GPU memory, not a bad number."""
    error = state.data
    if isinstance(error, OSError):
        return error.errno in TRANSIENT
    return type(error).__name__ == "OutOfMemoryError"


stage = task(
    task_run_name="{work[label]}",
    cache_policy=CacheKeyFnPolicy(cache_key_fn=stage_key),
    persist_result=True,
    result_serializer="json",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=is_transient,
)
"""Makes a task that is cached under the key of its work."""


@stage
def make_volumes(work: Work) -> dict[str, Any]:
    """Objects to look into: radiation lengths and the true target of each."""
    return perform(work)


@stage
def transport_muons(work: Work) -> dict[str, Any]:
    """Muons through the objects: their states above and below, without any detector."""
    return perform(work)


@stage
def start_fit(work: Work) -> dict[str, Any]:
    """Checkpoint 0: the detector as the study places it."""
    return perform(work)


@stage
def try_start(work: Work) -> dict[str, Any]:
    """Some epochs from one of several starts, if it is still among the better ones."""
    return perform(work)


@stage
def fit_epoch(work: Work) -> dict[str, Any]:
    """One pass over the training scans: the next checkpoint."""
    return perform(work)


@stage
def train_model(work: Work) -> dict[str, Any]:
    """A network for a design that stands still, to compare a learned reading fairly."""
    return perform(work)


@stage
def predict(work: Work) -> dict[str, Any]:
    """What a design says about every object of a bank."""
    return perform(work)


@stage
def evaluate(work: Work) -> dict[str, Any]:
    """Figures of merit of all designs, with their errors."""
    return perform(work)


TASKS: dict[str, StageTask] = {
    each.name: each
    for each in (
        make_volumes,
        transport_muons,
        start_fit,
        try_start,
        fit_epoch,
        train_model,
        predict,
        evaluate,
    )
}
"""Name of a stage -> its task."""


class ThroughPrefect:
    """Calls stages as tasks: all that run, and the first hits, so that the page shows them."""

    def __init__(self) -> None:
        """Nothing was shown yet."""
        self.shown = 0

    def __call__(self, work: Work, *, hit: bool) -> Mapping[str, Any] | None:
        """The ref as JSON; None for a hit that is only counted."""
        called = TASKS[work["name"]]
        if not hit:
            return called.with_options(refresh_cache=True)(work)
        self.shown += 1
        return called(work) if self.shown <= SHOWN_HITS else None
