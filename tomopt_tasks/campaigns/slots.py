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
from typing import Any, Protocol, runtime_checkable

Result = dict[str, Any]

EVERY = 2.0
"""Seconds between two looks at jobs that run."""

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
    epochs: tuple[str, ...] = ()
    """Keys of the epochs of a fit that it makes, in order."""


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


@runtime_checkable
class Crew(Protocol):
    """Whoever does jobs: processes of this machine, or the workers of a cluster."""

    def free(self) -> bool:
        """Whether one more job can begin now."""

    def submit(self, job: Job) -> Future[Result]:
        """Begin a job."""

    def ended(self, job: Job, future: Future[Result]) -> Outcome:
        """How a job ended whose future is done."""


@runtime_checkable
class Heard(Protocol):
    """Hears how jobs go on."""

    def began(self, job: Job) -> None:
        """A process, or the queue of a cluster, has taken a job."""

    def waited(self) -> None:
        """Called every few seconds while jobs run."""

    def ended(self, outcome: Outcome, n: int, total: int) -> None:
        """How a job ended, the jobs ended so far, and all jobs."""


class Unheard:
    """Hears nothing."""

    def began(self, job: Job) -> None:
        """A job has begun."""

    def waited(self) -> None:
        """Time has passed."""

    def ended(self, outcome: Outcome, n: int, total: int) -> None:
        """A job has ended."""


UNHEARD: Heard = Unheard()


def run_jobs(jobs: Sequence[Job], crew: Crew, heard: Heard = UNHEARD) -> Iterator[Outcome]:
    """Run jobs as soon as what they need is done, first come first served; outcomes as they come.

    Args:
        jobs: every name in ``after`` is that of a job.
        crew: does them.
        heard: is told when one begins, and every few seconds.
    """
    waiting = {job.name: job for job in jobs}
    ended: dict[str, Outcome] = {}
    running: dict[Future[Result], Job] = {}
    while waiting or running:
        yield from _blocked(waiting, ended)
        for job in [job for job in waiting.values() if job.after <= ended.keys()]:
            if crew.free():
                running[crew.submit(waiting.pop(job.name))] = job
                heard.began(job)
        if not running:
            continue
        done, _ = wait(running, EVERY, FIRST_COMPLETED)
        if not done:
            heard.waited()
        for future in done:
            job = running.pop(future)
            ended[job.name] = crew.ended(job, future)
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


def outcome(job: Job, future: Future[Result], killed: type[Exception]) -> Outcome:
    """How a job ended.

    Args:
        job: the job.
        future: is done.
        killed: what is raised where the process of a job is gone.
    """
    error = future.exception()
    if error is None:
        result = future.result()
        failed = str(result.pop("error", ""))
        return Outcome(job.name, "failed" if failed else "done", failed, result)
    if isinstance(error, killed):
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

    def stop(self) -> None:
        for process in list((self._pool._processes or {}).values()):
            if process.is_alive():
                process.terminate()

    def _new(self) -> ProcessPoolExecutor:
        context = get_context("spawn")
        return ProcessPoolExecutor(
            1, mp_context=context, initializer=_begin, initargs=(self._prepare,)
        )


class Slots:
    """Processes of this machine; each is started by its first job and kept until the end."""

    def __init__(self, n: int, prepare: Callable[[], None] | None) -> None:
        """Take so many.

        Args:
            n: processes at a time.
            prepare: called once in every process, before its first job.
        """
        self._slots = [_Slot(prepare) for _ in range(n)]
        self._free = list(self._slots)
        self._busy: dict[Future[Result], _Slot] = {}

    def free(self) -> bool:
        """Whether a process is idle."""
        return bool(self._free)

    def submit(self, job: Job) -> Future[Result]:
        """Begin a job in the process that was idle last."""
        slot = self._free.pop()
        future = slot.submit(job)
        self._busy[future] = slot
        return future

    def ended(self, job: Job, future: Future[Result]) -> Outcome:
        """How a job ended; a process that it killed is replaced."""
        slot = self._busy.pop(future)
        self._free.append(slot)
        if isinstance(future.exception(), BrokenProcessPool):
            slot.restart()
        return outcome(job, future, BrokenProcessPool)

    def stop(self) -> None:
        """Ask all processes to end: a member stores its present step first."""
        for slot in self._slots:
            slot.stop()

    def close(self) -> None:
        """End all processes; those that work finish their job."""
        for slot in self._slots:
            slot.close()


@contextmanager
def slots(n: int, prepare: Callable[[], None] | None = None) -> Iterator[Slots]:
    """Processes that end with the block; see ``Slots``."""
    found = Slots(n, prepare)
    try:
        yield found
    except KeyboardInterrupt:  # the terminal has told them too
        raise
    except BaseException:  # nobody waits for what is under way
        found.stop()
        raise
    finally:
        found.close()


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
