"""Runs that can be killed: forked by a nursery, or started as a user does."""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from tests.torture.nursery import Order

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0
"""Seconds after which a run that does not end counts as one that hangs."""


class Victim(Protocol):
    """A running command."""

    pid: int

    def ends_within(self, seconds: float) -> bool: ...

    def code(self) -> int:
        """Exit code of a run that has ended or was killed; negative: the signal."""


def kill(victim: Victim) -> None:
    """SIGKILL to the whole group of a run."""
    with suppress(ProcessLookupError):
        os.killpg(victim.pid, signal.SIGKILL)


def orphans(group: int) -> list[str]:
    """Command lines of processes that are left of a group."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            state, _, pgrp = (process / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append((process / "cmdline").read_text().replace("\0", " "))
    return found


class Fresh:
    """The command in an interpreter of its own."""

    def __init__(self, words: list[str], log: Path, **environment: str) -> None:
        """Start ``tomopt`` with some words; what it says goes to a file."""
        with log.open("ab") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tomopt_tasks.cli", *words],
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def ends_within(self, seconds: float) -> bool:
        """Wait so long, and not longer than it lives."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def code(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(PATIENCE)


class Nursery:
    """Forks runs, one at a time."""

    def __init__(self) -> None:
        """Start it; importing takes it some seconds."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.nursery"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)

    def fork(self, order: Order) -> "Forked":
        """A run as ordered."""
        self.send(json.dumps(order))
        return Forked(self)

    def send(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n".encode())

    def hear(self) -> str:
        return self.process.stdout.readline().decode().strip()


class Forked:
    """A run that a nursery has forked."""

    def __init__(self, nursery: Nursery) -> None:
        """Wait until it is there."""
        self.nursery = nursery
        self.pid = int(nursery.hear())
        self.ended = False

    def ends_within(self, seconds: float) -> bool:
        """Wait so long, and not longer than it lives."""
        if not self.ended:
            ready, _, _ = select.select([self.nursery.process.stdout], [], [], seconds)
            if ready:
                self.ended = self.nursery.hear() == "ended"
        return self.ended

    def code(self) -> int:
        """Its exit code, once it has ended; reaps it."""
        assert self.ends_within(PATIENCE), "it hangs"
        self.nursery.send("reap")
        return int(self.nursery.hear())
