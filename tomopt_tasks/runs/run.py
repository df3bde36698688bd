"""A run: one study against one store, walked along its plan.

``begin`` looks for every result first. Then each stage is a hit, which costs nothing, or it is
made by its body. Who calls the body is not known here: the plain runner calls it, a Prefect flow
calls a task that does.
"""

import logging
import resource
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from tomopt_tasks.config.study import Study
from tomopt_tasks.interrupts import deferred, stop_if_asked
from tomopt_tasks.planning.accept import accept, accepted, descendants
from tomopt_tasks.planning.estimate import work_of
from tomopt_tasks.planning.history import History, pack
from tomopt_tasks.planning.lookup import Step, look_up, stopped
from tomopt_tasks.planning.plan import KINDS, Stage, plan_study
from tomopt_tasks.planning.reasons import LOST
from tomopt_tasks.planning.select import select
from tomopt_tasks.runs import body
from tomopt_tasks.runs.manifest import epoch_row, last_made, now, provenance, run_id, seeds_of
from tomopt_tasks.runs.mending import lost_ancestors
from tomopt_tasks.runs.prediction_files import hdf5
from tomopt_tasks.runs.progress import NoProgress, Progress
from tomopt_tasks.store.errors import DamagedObject
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

TELL_EVERY = 60.0
"""Seconds between two entries about what ran: what a killed run forgets at most."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a person asked for, besides the study itself."""

    study: str = ""
    """The study file as it was named."""
    changes: Mapping[str, str] = field(default_factory=dict)
    """What was changed in it."""
    accept_code: bool = False
    """Take stored results of older code."""
    force: Sequence[str] = ()
    """Stages to run again whatever is stored, in the words of ``planning.select``."""


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
        self,
        study: Study,
        store: Store,
        call: Call = call_plain,
        progress: Progress | None = None,
        request: Request | None = None,
    ) -> None:
        """Plan the study and look for every stage in the store."""
        self.study = study
        self.store = store
        self.request = request or Request()
        history = History(store, study.study)
        stages = plan_study(study)
        if self.request.accept_code:
            stages = accept(stages, store, history)
        self.forced = {one.key for words in self.request.force for one in select(stages, words)}
        self.steps: Sequence[Step] = look_up(
            stages, store, study.study, history=history, forced=self.forced
        )
        self.plan = {stage.key: stage for stage in stages}
        self.id = run_id(study, stages)
        self.refs: dict[str, Ref] = {}
        self.measured: dict[str, dict[str, Any]] = {}
        self.call = call
        self.progress = progress or NoProgress()
        self.entries = store.read_run(self.id)
        self._earlier = last_made(self.entries)
        self._counted = len(body.executed)
        self._told: set[str] = set()
        self._told_at = time.monotonic()
        self._history: list[dict[str, Any]] = []

    @property
    def executed(self) -> list[str]:
        """Keys of the stages whose body ran, as the bodies counted them."""
        return [key for key in body.executed[self._counted :] if key in self.plan]

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
                stop_if_asked()
                yield self._have(step)

    def some(self, keys: Collection[str]) -> Iterator[tuple[Stage, Ref]]:
        """Have the stages with these keys, one after the other in pipeline order."""
        for step in self.steps:
            if step.stage.key in keys:
                stop_if_asked()
                yield step.stage, self._have(step)

    def _have(self, step: Step) -> Ref:
        stage = step.stage
        ref = None if stage.key in self.forced else stopped(stage, self.refs) or step.ref
        if ref is None:
            self.progress.running(stage)
            ref = self._make(stage)
        elif ref.key == stage.key and not step.retired:
            self.call(body.work_of(stage, self.store, self.refs), hit=True)
        self.refs[stage.key] = ref
        if stage.name == "fit_epoch":
            self._history.append(epoch_row(stage.label, stage.components, ref.metrics))
        self.progress.done(stage, ref, self.measured.get(stage.key, {}).get("seconds"))
        if time.monotonic() - self._told_at > TELL_EVERY:
            entry = {"event": "progress", "at": now(), "executed": self.tell()}
            self.store.append_run(self.id, entry)
        return ref

    def tell(self) -> dict[str, Any]:
        """What ran since this was last asked: digests, measures and why it ran."""
        self._told_at = time.monotonic()
        untold = (
            step for step in self.steps if step.stage.key in self.measured.keys() - self._told
        )
        told = {
            step.stage.key: {
                "label": step.stage.label,
                "reason": step.reason,
                "sha256": self.refs[step.stage.key].sha256,
                **self.measured[step.stage.key],
            }
            for step in untold
            if step.stage.key in self.refs
        }
        self._told |= told.keys()
        return told

    def _make(self, stage: Stage) -> Ref:
        """The result of a stage, and before it whatever it cannot read.

        A parent may be lost since it was looked for, or crafted with a digest that fits, which only
        reading it brings to light; who read it has set it aside.
        """
        todo, mended = [stage], set()
        while True:
            current = todo[-1]
            if current.key in self.forced:
                self.store.forget(current.kind, current.key)
            try:
                ref = self._perform(current)
            except DamagedObject:
                if current.key in mended:  # a second time only
                    raise
                mended.add(current.key)
                todo += self._lost(current)
                continue
            self._note(current, ref)
            todo.pop()
            if not todo:
                return ref
            self.refs |= {name: ref for name, each in self.refs.items() if each.key == current.key}

    def _note(self, stage: Stage, ref: Ref) -> None:
        """What making a stage took, if its body ran, and whether it came out as the last time."""
        if stage.key in self.executed:
            self.measured[stage.key] = {
                "at": now(),
                "seconds": round(body.seconds[stage.key], 4),
                "nbytes": ref.nbytes,
                "work": work_of(stage, self.plan),
                "peak_mb": round(_peak_mb(), 1),
            }
        before = self._earlier.get(stage.key, {}).get("sha256", ref.sha256)
        if before != ref.sha256:
            self._alarm(stage, before, ref.sha256)

    def _perform(self, stage: Stage) -> Ref:
        work = body.work_of(stage, self.store, self.refs)
        return Ref.model_validate(self.call(work, hit=False))

    def _lost(self, stage: Stage) -> list[Stage]:
        """What is not there of all that a stage is made from, the latest first."""
        found = lost_ancestors(stage, self.plan, self.refs, self.store)
        lost = {planned.key for planned in found}
        self.steps = [
            replace(step, ref=None, reason=LOST) if step.stage.key in lost else step
            for step in self.steps
        ]
        for planned in reversed(found):
            log.warning("%s is made again, for %s", planned.label, stage.label)
        return found

    def _alarm(self, stage: Stage, before: str, after: str) -> None:
        """Equal keys, other bytes: say so, and let nothing stand that was made of the old ones."""
        text = (
            "%s came out different from the last time (%s, was %s): equal keys must give equal "
            "bytes; compare threads and hardware in the manifest of run %s"
        )
        log.warning(text, stage.label, after[:12], before[:12], self.id)
        parents = {key: planned.parents.values() for key, planned in self.plan.items()}
        self.forced |= descendants(parents, {stage.key})


def _peak_mb() -> float:
    """The most memory that this process has had so far [MB]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def run_all(run: Run, epoch: Callable[[], None] | None = None) -> None:
    """Have every stage without Prefect, in pipeline order.

    Args:
        run: begun.
        epoch: called when an epoch is done.
    """
    for name in KINDS:
        for _ in run.each(PlainStage(name)):
            if name == "fit_epoch" and epoch is not None:
                epoch()


@contextmanager
def begin(
    study: Study,
    store: Store,
    runner: str = "plain",
    call: Call = call_plain,
    progress: Progress | None = None,
    *,
    request: Request | None = None,
) -> Iterator[Run]:
    """A run whose start and end are written to its manifest, however it ends.

    Inside, Ctrl-C and SIGTERM wait until the present step is stored; see `interrupts`.

    Args:
        study: what to do.
        store: where results lie.
        runner: ``plain`` or ``prefect``, for the manifest.
        call: has the work of a stage done.
        progress: shows what happens; default: nothing.
        request: what was asked for.
    """
    if study.report.files:
        hdf5()  # or a run would end without its report
    run = Run(study, store, call, progress, request)
    begun = time.perf_counter()
    stages = [step.stage for step in run.steps]
    store.append_run(run.id, _start(run, runner, stages))
    event, error = "interrupted", ""
    try:
        with deferred(), run.progress.shown(run.id, stages):
            yield run
            stop_if_asked()
        event = "finished"
    except Exception as problem:
        event, error = "failed", str(problem)
        raise
    except BaseException as stop:  # Ctrl-C, or what Prefect makes of a signal
        error = str(stop) or type(stop).__name__
        raise
    finally:
        store.append_run(run.id, _end(run, event, error, time.perf_counter() - begun))


def _start(run: Run, runner: str, stages: Sequence[Stage]) -> dict[str, Any]:
    """The first entry: what was asked, of which code and machine, and once the plan."""
    asked = run.request
    start = {"event": "started", "at": now(), "runner": runner, **provenance()}
    start |= {"settings": run.study.model_dump(mode="json"), "seeds": seeds_of(run.study)}
    start["source"] = {"study": asked.study, "changes": list(asked.changes.items())}
    start["accepted"] = accepted(stages)
    start["forced"] = list(asked.force)
    if not any(entry.get("plan") for entry in run.entries):
        start["plan"] = pack(stages)
    return start


def _end(run: Run, event: str, error: str, seconds: float) -> dict[str, Any]:
    """The last entry: what ran since the last one, what was a hit, and how it ended."""
    return {
        "event": event,
        "at": now(),
        "error": error,
        "seconds": round(seconds, 3),
        "executed": run.tell(),
        "cached": run.cached,
    }
