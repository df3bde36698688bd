"""A run: one study against one store, walked along its plan.

``begin`` looks for every result first. Then each stage is a hit, which costs nothing, or it is
made by its body. Who calls the body is not known here: the plain runner calls it, a Prefect flow
calls a task that does.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tomopt_tasks.config.study import Study
from tomopt_tasks.planning.history import pack
from tomopt_tasks.planning.lookup import Step, look_up, stopped
from tomopt_tasks.planning.plan import KINDS, Stage, plan_study
from tomopt_tasks.runs import body
from tomopt_tasks.runs.manifest import epoch_row, last_made, now, provenance, run_id, seeds_of
from tomopt_tasks.runs.progress import NoProgress, Progress
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

Source = tuple[str, Mapping[str, str]]
"""A study file and what was changed in it."""

log = logging.getLogger(__name__)


@runtime_checkable
class Named(Protocol):
    """A stage that can be called: a Prefect task, or just its name."""

    @property
    def name(self) -> str:
        """Name of the stage."""


@runtime_checkable
class Call(Protocol):
    """Has the work of a stage done."""

    def __call__(self, work: body.Work, *, hit: bool) -> Mapping[str, Any] | None:
        """The ref as JSON. For a hit the ref is known, and nothing needs to be done."""


@dataclass(frozen=True)
class PlainStage:
    """A stage without Prefect."""

    name: str


def call_plain(work: body.Work, *, hit: bool) -> Mapping[str, Any] | None:
    """Run the body here; nothing for a hit."""
    return None if hit else body.perform(work)


class Run:
    """What is there, what was made, and the refs of both."""

    def __init__(
        self, study: Study, store: Store, call: Call = call_plain, progress: Progress | None = None
    ) -> None:
        """Plan the study and look for every stage in the store."""
        self.study = study
        self.store = store
        self.steps: Sequence[Step] = look_up(stages := plan_study(study), store, study.study)
        self.id = run_id(study, stages)
        self.refs: dict[str, Ref] = {}
        self.seconds: dict[str, float] = {}
        self.call = call
        self.progress = progress or NoProgress()
        self.entries = store.read_run(self.id)
        self._earlier = last_made(self.entries)
        self._counted = len(body.executed)
        self._history: list[dict[str, Any]] = []

    @property
    def executed(self) -> list[str]:
        """Keys of the stages whose body ran, as the bodies counted them."""
        ours = {step.stage.key for step in self.steps}
        return [key for key in body.executed[self._counted :] if key in ours]

    @property
    def cached(self) -> int:
        """Stages done so far without their body."""
        return len(self.refs) - len(self.executed)

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row of metrics for every epoch so far."""
        return self._history

    @property
    def epochs_done(self) -> tuple[int, int]:
        """Epochs so far and in all."""
        total = sum(step.stage.name == "fit_epoch" for step in self.steps)
        return len(self._history), total

    def all(self, stage: Named) -> list[Ref]:
        """Have every stage of one name."""
        return list(self.each(stage))

    def each(self, stage: Named) -> Iterator[Ref]:
        """Have the stages of one name, one after the other."""
        for step in self.steps:
            if step.stage.name == stage.name:
                yield self._have(step)

    def _have(self, step: Step) -> Ref:
        stage = step.stage
        ref = stopped(stage, self.refs) or step.ref
        if ref is None:
            self.progress.running(stage)
            ref = self._make(stage)
        elif ref.key == stage.key:
            self.call(body.work_of(stage, self.store, self.refs), hit=True)
        self.refs[stage.key] = ref
        if stage.name == "fit_epoch":
            self._history.append(epoch_row(stage.label, stage.components, ref.metrics))
        self.progress.done(stage, ref, self.seconds.get(stage.key))
        return ref

    def _make(self, stage: Stage) -> Ref:
        begun = time.perf_counter()
        work = body.work_of(stage, self.store, self.refs)
        ref = Ref.model_validate(self.call(work, hit=False))
        if stage.key in self.executed:
            self.seconds[stage.key] = time.perf_counter() - begun
        before = self._earlier.get(stage.key, {}).get("sha256", ref.sha256)
        if before != ref.sha256:
            text = (
                "%s came out different from the last time (%s, was %s): equal keys must give equal "
                "bytes; compare threads and hardware in the manifest of run %s"
            )
            log.warning(text, stage.label, ref.sha256[:12], before[:12], self.id)
        return ref


def run_all(run: Run) -> None:
    """Have every stage without Prefect, in pipeline order."""
    for name in KINDS:
        run.all(PlainStage(name))


@contextmanager
def begin(
    study: Study,
    store: Store,
    runner: str = "plain",
    call: Call = call_plain,
    progress: Progress | None = None,
    *,
    source: Source = ("", {}),
) -> Iterator[Run]:
    """A run whose start and end are written to its manifest, however it ends.

    Args:
        study: what to do.
        store: where results lie.
        runner: ``plain`` or ``prefect``, for the manifest.
        call: has the work of a stage done.
        progress: shows what happens; default: nothing.
        source: the study file as it was named, and what was changed in it, to tell the command.
    """
    run = Run(study, store, call, progress)
    begun = time.perf_counter()
    stages = [step.stage for step in run.steps]
    start = {"event": "started", "at": now(), "runner": runner, **provenance()}
    start |= {"settings": study.model_dump(mode="json"), "seeds": seeds_of(study)}
    start["source"] = {"study": source[0], "changes": list(source[1].items())}
    if not any(entry.get("plan") for entry in run.entries):
        start["plan"] = pack(stages)
    store.append_run(run.id, start)
    event, error = "interrupted", ""
    try:
        with run.progress.shown(run.id, stages):
            yield run
        event = "finished"
    except Exception as problem:
        event, error = "failed", str(problem)
        raise
    finally:
        store.append_run(run.id, _end(run, event, error, time.perf_counter() - begun))


def _end(run: Run, event: str, error: str, seconds: float) -> dict[str, Any]:
    """The last entry: what ran with its digest and time, what was a hit, and why things ran."""
    made = set(run.executed) & run.refs.keys() & run.seconds.keys()
    return {
        "event": event,
        "at": now(),
        "error": error,
        "seconds": round(seconds, 3),
        "executed": {
            step.stage.key: {
                "label": step.stage.label,
                "reason": step.reason,
                "sha256": run.refs[step.stage.key].sha256,
                "seconds": round(run.seconds[step.stage.key], 4),
            }
            for step in run.steps
            if step.stage.key in made
        },
        "cached": run.cached,
    }
