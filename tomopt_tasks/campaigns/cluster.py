"""Jobs on a standing Dask cluster whose workers share the store."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from tomopt_tasks.campaigns.slots import Job, Outcome, Result, outcome
from tomopt_tasks.core import UserError

PATIENCE = 30
"""Seconds that a scheduler may take to answer."""


class Cluster:
    """The workers of a cluster: it queues what they cannot begin yet."""

    def __init__(self, executor: Any, killed: type[Exception], prepare: Callable[[], None]) -> None:  # noqa: ANN401 - of the extra
        self._executor = executor
        self._killed = killed
        self._prepare = prepare

    def free(self) -> bool:
        """Whether one more job can be queued: any number."""
        return True

    def submit(self, job: Job) -> Future[Result]:
        """Queue a job."""
        future: Future[Result] = self._executor.submit(_work, self._prepare, job)
        return future

    def ended(self, job: Job, future: Future[Result]) -> Outcome:
        """How a job ended."""
        return outcome(job, future, self._killed)


@contextmanager
def cluster(address: str, prepare: Callable[[], None]) -> Iterator[Cluster]:
    """The cluster at an address; it stays when the block ends.

    Args:
        address: of its scheduler, e.g. ``tcp://10.0.0.7:8786``.
        prepare: called in a worker before each job; costs nothing the second time.

    Raises:
        UserError: Dask is not installed, nobody answers, or there is no worker of one thread.
    """
    try:
        from distributed import Client, KilledWorker  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UserError(
            "--dask: Dask is not installed; pip install 'tomopt-tasks[dask]', here and where the "
            "workers run"
        ) from error
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(
            f"--dask: no Dask scheduler answers at {address}; start one with 'dask scheduler' and "
            "give the address that it prints"
        ) from error
    with client:
        check_workers(address, client.scheduler_info(n_workers=-1)["workers"])
        with client.get_executor(pure=False) as executor:
            yield Cluster(executor, KilledWorker, prepare)


def check_workers(address: str, workers: Mapping[str, Any]) -> None:
    """Refuse a cluster that cannot give every job a process.

    Args:
        address: of its scheduler.
        workers: address -> facts, with their number of threads.

    Raises:
        UserError: there is no worker, or one has several threads.
    """
    cure = f"start some with 'dask worker {address} --nworkers N --nthreads 1'"
    if not workers:
        raise UserError(f"--dask: the scheduler at {address} has no workers; {cure}")
    threads = max(int(each["nthreads"]) for each in workers.values())
    if threads > 1:
        raise UserError(
            f"--dask: a worker at {address} has {threads} threads, but a job needs a process of "
            f"its own; {cure}"
        )


def _work(prepare: Callable[[], None], job: Job) -> Result:
    """What a worker does."""
    prepare()
    return job.call(*job.arguments)
