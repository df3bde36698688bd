"""Server and workers of this machine as processes: started, found again, and ended exactly.

What was started is written to a file below ``.tomopt``, a process by its number and the time when
it began, so that another process that got its number later is left alone.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
from pydantic import ValidationError

from tomopt_tasks.core import Config, UserError
from tomopt_tasks.project import state_folder

GRACE = 30.0
"""Seconds that a process may take to end by itself: a run finishes its present step."""


class Started(Config):
    """A process."""

    role: str
    """server, or the name of a worker."""
    pid: int
    """Its number."""
    began: float
    """When it began [s since the epoch], as the system tells."""
    log: str = ""
    """File with what it says."""

    def process(self) -> psutil.Process | None:
        """The process, if it still lives and is the same."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.began) < 1.0
            if same and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


class Machine(Config):
    """What runs on this machine for the project."""

    host: str
    """Address that the server listens at."""
    port: int
    """Its port."""
    processes: tuple[Started, ...] = ()
    """Server first, then workers."""

    @property
    def url(self) -> str:
        """The server as programs on this machine reach it."""
        return f"http://{reached(self.host)}:{self.port}"

    @property
    def server(self) -> psutil.Process | None:
        """The server, if it lives."""
        return next((each.process() for each in self.processes if each.role == "server"), None)


def reached(host: str) -> str:
    """An address that a program on this machine can call: 0.0.0.0 is none."""
    plain = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    return f"[{plain}]" if ":" in plain and not plain.startswith("[") else plain


def state_file() -> Path:
    """Where it is written what runs."""
    return state_folder() / "machine.json"


def read_machine() -> Machine | None:
    """What was started and not yet ended; None: nothing."""
    try:
        return Machine.model_validate_json(state_file().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValidationError, json.JSONDecodeError, OSError) as error:
        raise UserError(
            f"{state_file()} cannot be read ({type(error).__name__}); delete it, and see with "
            "`tomopt doctor` what still runs"
        ) from error


def write_machine(machine: Machine) -> None:
    """Write down what runs, whole or not at all."""
    path = state_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(machine.model_dump_json(indent=1), encoding="utf-8")
    draft.replace(path)


def forget_machine() -> None:
    """Nothing runs any more."""
    state_file().unlink(missing_ok=True)


def start(role: str, words: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Started:
    """Start ``python -m WORDS`` in a session of its own, with a log below ``.tomopt``."""
    log = state_folder() / "logs" / f"{role}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *words],
            cwd=cwd,
            env={**os.environ, **environment, "PWD": str(cwd)},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    began = psutil.Process(process.pid).create_time()
    return Started(role=role, pid=process.pid, began=began, log=str(log))


def end(processes: Sequence[Started], grace: float = GRACE) -> list[str]:
    """End processes and all that they started, first gently; the roles that were still alive.

    Args:
        processes: those to end.
        grace: seconds until what still lives is killed.
    """
    alive = [(each, found) for each in processes if (found := each.process()) is not None]
    family = list(dict.fromkeys(child for _, found in alive for child in _children(found)))
    everyone = [found for _, found in alive] + family
    for process in everyone:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(everyone, timeout=grace)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    return [each.role for each, _ in alive]


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        found: list[psutil.Process] = process.children(recursive=True)
        return found
    return []


def last_words(log: str, count: int = 3) -> str:
    """The end of a log in one line."""
    with suppress(OSError):
        text = Path(log).read_text(encoding="utf-8", errors="replace")
        return " / ".join(line.strip() for line in text.splitlines()[-count:] if line.strip())
    return ""


def wait_until(ready: Callable[[], bool], process: Started, seconds: float, what: str) -> None:
    """Wait for something that a new process does.

    Raises:
        UserError: the process ended, or the time is over.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if process.process() is None:
            raise UserError(f"{what} ended at once: {last_words(process.log)}; see {process.log}")
        if time.monotonic() > deadline:
            raise UserError(f"{what} did not answer within {seconds:.0f} s; see {process.log}")
        time.sleep(0.5)
