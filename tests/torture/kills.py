"""Kill a study again and again until it is finished, and do that again until enough were killed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path
from urllib.request import urlopen

import torch

from tests.torture.toll import Found, Toll, Undisturbed, acknowledged, autopsy, files, finish, found
from tests.torture.victims import PATIENCE, Fresh, Nursery, Victim, kill, orphans
from tomopt_tasks.rng import stream
from tomopt_tasks.store.opening import open_store

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "tests/pipeline/tiny.yaml"
BY_OPERATION = 0.4
"""Share of the kills at an operation on the store, where the narrow moments are; the others come
after a time."""

NEVER = (PATIENCE, 0)

Start = Callable[[int, int], Victim]
"""Starts process i of a study, which dies before its nth operation; 0: it does not by itself."""


@dataclass
class Torture:
    """One study, undisturbed once, then killed."""

    folder: Path
    """To work in."""
    seed: int
    tell: Callable[[str], object] = lambda _: None
    good: Undisturbed = field(init=False)
    seconds: float = field(init=False)
    """That an undisturbed run takes, imports left out."""
    operations: int = field(init=False)
    """On the store, in an undisturbed run."""

    def undisturbed(self, nursery: Nursery) -> None:
        """Run the study once without harm, to compare with."""
        victim = self.forked(nursery, 0, 0)  # comes when all is imported
        begun = time.monotonic()
        assert victim.code() == 0, self.log.read_text()
        self.seconds = time.monotonic() - begun
        store = open_store(self.store, create=False)
        self.good = Undisturbed(found(store), files(store))
        self.operations = int(self.acks.read_text().split()[-1])
        assert dict(acknowledged(self.acks)) == self.good.objects
        self.tell(f"undisturbed: {self.seconds:.1f} s, {self.operations} operations on the store")
        self.clear()

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def acks(self) -> Path:
        return self.folder / "acks"

    @property
    def words(self) -> list[str]:
        return ["run", str(STUDY), "--store", str(self.store)]

    def clear(self) -> None:
        """Begin a new round."""
        shutil.rmtree(self.store, ignore_errors=True)
        self.acks.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)

    def forked(self, nursery: Nursery, _: int, die_at: int) -> Victim:
        """The plain runner, forked."""
        return nursery.fork(
            {
                "words": [*self.words, "--runner", "plain"],
                "store": str(self.store),
                "log": str(self.log),
                "acks": str(self.acks),
                "die_at": die_at,
            }
        )

    def kill(
        self,
        n_kills: int,
        start: Start,
        seconds: float,
        n_processes: int = 1,
        by_operation: float = BY_OPERATION,
    ) -> Toll:
        """Kill runs until so many were killed, and let the last study come to its end.

        Args:
            n_kills: at least so many.
            start: see `Start`.
            seconds: that a run takes; the moments are drawn from this time and a tenth more.
            n_processes: that work on the study at the same time, each killed by itself.
            by_operation: share of the kills before an operation on the store.
        """
        toll, seen = Toll(), Found()
        rng = stream(self.seed, "kills", n_processes, n_kills)
        self.clear()
        while toll.kills < n_kills or seen:
            draws = torch.rand(n_processes, 2, generator=rng, dtype=torch.float64).tolist()
            moments = [
                self.moment(when, seconds, which < by_operation)
                if toll.kills < n_kills
                else NEVER  # enough: let it finish
                for which, when in draws
            ]
            ends = self.once(toll, start, moments)
            told = acknowledged(self.acks)
            seen = autopsy(toll, self.store, {**seen, **dict(told)}, self.good.objects)
            if all(ends):
                again = Counter(told) - Counter(set(told)) if n_processes == 1 else ()
                toll.add("redone", [str(each) for each in again])
                finish(toll, self.store, self.good)
                self.clear()
                seen = {}
                self.tell(f"{toll.kills} of {n_kills} kills, {toll.rounds} studies finished")
        return toll

    def moment(self, share: float, seconds: float, by_operation: bool) -> tuple[float, int]:
        """When to kill: after some seconds, or before an operation."""
        if by_operation:
            return PATIENCE, 1 + int(share * self.operations / 2)  # much is done in later runs
        return 1.1 * share * seconds, 0

    def once(self, toll: Toll, start: Start, moments: Sequence[tuple[float, int]]) -> list[bool]:
        """Start the processes and kill each at its moment; which of them came to their end."""
        victims = [start(number, die_at) for number, (_, die_at) in enumerate(moments)]
        begun = time.monotonic()
        for (seconds, _), victim in sorted(zip(moments, victims, strict=True), key=itemgetter(0)):
            if not victim.ends_within(max(0.0, begun + seconds - time.monotonic())):
                kill(victim)
        codes = [victim.code() for victim in victims]
        toll.runs += len(codes)
        toll.kills += codes.count(-signal.SIGKILL)
        for code, victim in zip(codes, victims, strict=True):
            toll.add("orphans", orphans(victim.pid))
            if code not in {0, -signal.SIGKILL}:
                toll.add("failed", [f"exit code {code}: {self.log.read_text()[-2000:]}"])
        return [code == 0 for code in codes]


def plain(torture: Torture, nursery: Nursery, n_kills: int, fresh_every: int = 10) -> Toll:
    """The plain runner, forked; one run in so many is an interpreter of its own."""
    count = iter(range(10**9))

    def start(number: int, die_at: int) -> Victim:
        if next(count) % fresh_every or die_at:
            return torture.forked(nursery, number, die_at)
        return Fresh([*torture.words, "--runner", "plain"], torture.log)

    return torture.kill(n_kills, start, torture.seconds)


def pair(torture: Torture, nurseries: Sequence[Nursery], n_kills: int) -> Toll:
    """Two processes on one study and one store."""

    def start(number: int, die_at: int) -> Victim:
        return torture.forked(nurseries[number], number, die_at)

    return torture.kill(n_kills, start, 1.5 * torture.seconds, n_processes=2)


def served(torture: Torture, n_kills: int) -> Toll:
    """Runs under one standing Prefect server, each an interpreter of its own."""
    with prefect_server(torture.folder) as environment:

        def start(number: int, die_at: int) -> Victim:
            return Fresh(torture.words, torture.log, **environment)

        begun = time.monotonic()
        assert start(0, 0).code() == 0, torture.log.read_text()
        seconds = time.monotonic() - begun
        torture.tell(f"undisturbed under Prefect: {seconds:.1f} s with the start")
        return torture.kill(n_kills, start, seconds, by_operation=0.0)


@contextmanager
def prefect_server(folder: Path) -> Iterator[dict[str, str]]:
    """A server that all runs share; the environment that points to it."""
    home = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(folder / "results"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    (folder / "prefect").mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "flows.serving"],
        cwd=ROOT,
        env={**os.environ, **home, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        port = server.stdout.readline().decode().strip()
        urlopen(f"http://127.0.0.1:{port}/api/health", timeout=180).close()
        yield {**home, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        server.stdin.close()  # it ends with this
        server.stdout.close()
        server.wait(60)
