"""Prefect's own server for the length of one process, where no standing server is configured.

It is the application that Prefect would start by itself, but in a session of its own, so that
Ctrl-C reaches the flow and not the server below it; it says nothing on the terminal; and it ends
with the process, however that ends: it reads from a pipe that only this process holds open.
"""

import atexit
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.logging.configuration import setup_logging
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.access import api_settings
from flows.machine import read_machine
from tomopt_tasks.core import UserError

START_LIMIT = 180.0
"""Seconds that the server may take to answer; migrations of a new database take most of it."""


@contextmanager
def prefect_server(meanwhile: Callable[[], object] = lambda: None) -> Iterator[None]:
    """Flows inside find a server: the configured one, else one that ends with this process.

    Args:
        meanwhile: called while the server starts.

    Raises:
        UserError: the server does not start.
    """
    _quiet_console()
    if PREFECT_API_URL.value():
        yield
        return
    machine = read_machine()
    if machine is not None and machine.server is not None:
        meanwhile()
        with temporary_settings(api_settings(machine)):
            yield
        return
    log = Path(os.environ["PREFECT_HOME"]) / "server.log"
    with log.open("wb") as stderr:
        server = subprocess.Popen(
            [sys.executable, "-m", "flows.serving"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, "PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1"},
            start_new_session=True,
        )
    atexit.register(_end, server)  # runs after Prefect's own, which still send logs and events
    meanwhile()
    with temporary_settings({PREFECT_API_URL: _await(server, log)}):
        yield


def _quiet_console() -> None:
    """Leave what runs say to Prefect's pages: their errors reach the terminal as exceptions."""
    setup_logging()
    for handler in logging.getLogger().handlers:
        handler.addFilter(
            lambda record: not record.name.startswith(("prefect.flow_runs", "prefect.task_runs"))
        )


def _await(server: subprocess.Popen[bytes], log: Path) -> str:
    """The address of the server once it answers; a connection waits until it does."""
    assert server.stdout is not None
    port = server.stdout.readline().decode().strip()
    url = f"http://127.0.0.1:{port}/api"
    try:
        with urlopen(f"{url}/health", timeout=START_LIMIT):
            return url
    except (URLError, OSError, ValueError) as error:
        raise UserError(
            f"Prefect's server did not start ({error}); see {log}, or use --runner plain"
        ) from error


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    with suppress(subprocess.TimeoutExpired):
        server.wait(timeout=10)
    server.kill()
    server.wait()
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            pipe.close()


def serve() -> None:
    """Serve on a free port, said on stdout, until stdin closes."""
    import uvicorn  # noqa: PLC0415 - only in the server's own process

    threading.Thread(target=_end_with_the_process, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)  # noqa: T201
    app = "prefect.server.api.server:create_app"
    config = uvicorn.Config(app, factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


def _end_with_the_process() -> None:
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(10)
    os._exit(1)


if __name__ == "__main__":
    serve()
