"""A process that imports once and forks runs to be killed, because a start takes seconds.

Reads one JSON `Order` a line. For each it answers ``<pid>``, then ``ended`` when the run has ended
however it ended, waits for a line, reaps it, and answers its exit code (negative: the signal).
A run is a session of its own; that it is not reaped before keeps its number from another process.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypedDict

CHANGES = frozenset({"os.link", "os.rename", "os.mkdir", "os.remove", "os.rmdir"})
"""Events of `sys.addaudithook` that change a folder; besides them files opened for writing."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class Order(TypedDict):
    """A run to be forked."""

    words: list[str]
    """Arguments of ``tomopt``."""
    store: str
    log: str
    """File that stdout and stderr go to."""
    acks: str
    """File to which each commit is told once it is acknowledged, and in the end the operations."""
    die_at: int
    """Number of the operation on the store before which it kills itself; 0: none."""


def main() -> None:
    """Fork as ordered until stdin closes."""
    import matplotlib.figure  # noqa: F401, PLC0415 - so that no child imports anything
    import torch._dynamo  # noqa: F401, PLC0415 - as every optimiser does

    import tomopt_tasks.reports.page  # noqa: PLC0415
    import tomopt_tasks.runs.command  # noqa: PLC0415
    import tomopt_tasks.stages  # noqa: F401, PLC0415

    for line in sys.stdin:
        order: Order = json.loads(line)
        child = os.fork()
        if child == 0:
            live(order)
        say(child)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        say("ended")
        sys.stdin.readline()
        say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def say(word: object) -> None:
    """One line to whoever ordered."""
    os.write(1, f"{word}\n".encode())


def live(order: Order) -> None:
    """Be the command, in a session of its own, and never come back."""
    code = 70
    try:
        os.setsid()
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(log, stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        acks = os.open(order["acks"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        acknowledge(acks)
        seen = dying(order["store"], order["die_at"])
        code = command(order["words"])
        os.write(acks, f"operations {seen()}\n".encode())
    except BaseException:  # noqa: BLE001 - a child must not go on as its parent
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def command(words: list[str]) -> int:
    """The exit code of ``tomopt``."""
    from tomopt_tasks import cli  # noqa: PLC0415

    sys.argv = ["tomopt", *words]
    try:
        cli.main()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def acknowledge(acks: int) -> None:
    """Tell of each object once its commit has returned."""
    from tomopt_tasks.store.store import Store  # noqa: PLC0415

    def telling(put: Callable[..., Any]) -> Callable[..., Any]:
        def told(*arguments: Any, **options: Any) -> Any:
            ref = put(*arguments, **options)
            os.write(acks, f"{ref.kind} {ref.key} {ref.sha256}\n".encode())
            return ref

        return told

    for name in ("put_record", "put_dataset", "commit"):
        setattr(Store, name, telling(getattr(Store, name)))


def dying(store: str, die_at: int) -> Callable[[], int]:
    """Count what is done to a store, and die before one of it; gives the count."""
    seen = 0

    def count() -> None:
        nonlocal seen
        seen += 1
        if seen == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and (arguments[2] or 0) & WRITING)
        if changes and not isinstance(arguments[0], int):
            name = os.fsdecode(arguments[0])
            if name.startswith(store):
                count()

    good = os.fsync

    def fsync(handle: int) -> None:
        count()
        good(handle)

    os.fsync = fsync
    sys.addaudithook(hook)
    return lambda: seen


if __name__ == "__main__":
    main()
