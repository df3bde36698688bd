"""Jobs side by side, each slot with a process of its own: one that dies takes one job with it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from typing import Any

Result = dict[str, Any]

KILLED = "its process was killed (out of memory?); run again to go on"


@dataclass(frozen=True)
class Job:
    """Something to do in another process."""

    name: str
    call: Callable[..., Result]
    """A function of a module; its arguments can be pickled."""
    arguments: tuple[Any, ...]
    after: frozenset[str] = frozenset()
    """Names of the jobs that it needs."""


@dataclass(frozen=True)
class Outcome:
    """How a job ended."""

    name: str
    state: str
    """done, failed or blocked."""
    error: str = ""
    result: Result = field(default_factory=dict)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_jobs(
    jobs: Sequence[Job], n_slots: int, prepare: Callable[[], None] | None = None
) -> Iterator[Outcome]:
    """Run jobs as soon as what they need is done, first come first served; outcomes as they come.

    Args:
        jobs: every name in ``after`` is that of a job.
        n_slots: processes at a time.
        prepare: called once in every process, before its first job.
    """
    waiting = {job.name: job for job in jobs}
    ended: dict[str, Outcome] = {}
    with _slots(min(n_slots, max(len(jobs), 1)), prepare) as free:
        running: dict[Future[Result], tuple[Job, _Slot]] = {}
        while waiting or running:
            yield from _blocked(waiting, ended)
            for job in [job for job in waiting.values() if job.after <= ended.keys()]:
                if free:
                    slot = free.pop()
                    running[slot.submit(job)] = (waiting.pop(job.name), slot)
            if not running:
                continue
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                job, slot = running.pop(future)
                free.append(slot)
                ended[job.name] = _outcome(job, future, slot)
                yield ended[job.name]


def _blocked(waiting: dict[str, Job], ended: dict[str, Outcome]) -> Iterator[Outcome]:
    """Give up the jobs that need one that has failed, and those that need them in turn."""
    found = True
    while found:
        found = False
        for job in list(waiting.values()):
            bad = [name for name in job.after if name in ended and ended[name].state != "done"]
            if bad:
                found = True
                waiting.pop(job.name)
                ended[job.name] = Outcome(job.name, "blocked", f"needs {min(bad)}")
                yield ended[job.name]


def _outcome(job: Job, future: Future[Result], slot: "_Slot") -> Outcome:
    error = future.exception()
    if error is None:
        result = future.result()
        failed = str(result.pop("error", ""))
        return Outcome(job.name, "failed" if failed else "done", failed, result)
    if isinstance(error, BrokenProcessPool):
        slot.restart()
        return Outcome(job.name, "failed", KILLED)
    if isinstance(error, Exception):
        return Outcome(job.name, "failed", f"{type(error).__name__}: {error}")
    raise error


class _Slot:
    """A process that lives as long as its jobs do not kill it."""

    def __init__(self, prepare: Callable[[], None] | None) -> None:
        self._prepare = prepare
        self._pool = self._new()

    def submit(self, job: Job) -> Future[Result]:
        return self._pool.submit(_call, job)

    def restart(self) -> None:
        self.close()
        self._pool = self._new()

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _new(self) -> ProcessPoolExecutor:
        context = get_context("spawn")
        return ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(self._prepare,)
        )


@contextmanager
def _slots(n: int, prepare: Callable[[], None] | None) -> Iterator[list[_Slot]]:
    slots = [_Slot(prepare) for _ in range(n)]
    try:
        yield list(slots)
    finally:
        for slot in slots:
            slot.close()


def _begin(prepare: Callable[[], None] | None) -> None:
    """One thread a process; no traceback on Ctrl+C between jobs; gone when the parent is."""
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()
    if prepare is not None:
        prepare()


def _follow(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _call(job: Job) -> Result:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return job.call(*job.arguments)
    finally:
        signal.signal(signal.SIGINT, before)
