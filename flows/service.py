"""Everything that a group needs on one machine: server, pool, queues, workers, deployments."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.settings import temporary_settings

from flows.access import PASSWORD, api_settings, password_for
from flows.deploying import POOL, deploy, deployments, prepare_pool, workers_online
from flows.machine import (
    Machine,
    Started,
    end,
    forget_machine,
    read_machine,
    start,
    wait_until,
    write_machine,
)
from tomopt_tasks.core import UserError
from tomopt_tasks.project import project_root
from tomopt_tasks.runs.machine import gpus

PORT = 4200
START_LIMIT = 180.0
"""Seconds that server and workers may take; a new database and a busy machine need most of it."""


def up(host: str = "127.0.0.1", port: int | None = None, jobs: int = 2) -> list[str]:
    """Start what does not run yet; what to say.

    Args:
        host: address that the server listens at; any but this machine's own needs a password,
            which is made where none is set.
        port: None: 4200, or a free one if that is taken.
        jobs: flow runs at a time on the CPU.

    Raises:
        UserError: something does not start; what was started before it stays, and ``down`` ends it.
    """
    machine = read_machine()
    if machine is not None and machine.server is None:
        end(machine.processes)
        machine = None
    if machine is None:
        machine = Machine(host=host, port=_port(host, port))
    elif (port or machine.port, host) != (machine.port, machine.host):
        raise UserError(f"it is up already, at {machine.url}; `tomopt down` ends it")
    root = project_root()
    said, secret = password_for(machine.host)
    environment = _environment(machine, secret)
    if machine.server is None:
        words = ["prefect", "server", "start", "--host", machine.host, "--port", str(machine.port)]
        server = start("server", words, environment, root)
        machine = _with(machine, server)
        health = f"{machine.url}/api/health"
        wait_until(lambda: _answers(health), server, START_LIMIT, "Prefect's server")
    with temporary_settings(api_settings(machine)):
        cards = gpus()
        asyncio.run(prepare_pool({"cpu": None, "gpu": max(len(cards), 1)}))
        machine = _start_workers(machine, environment, cards, jobs, root)
        deployed = deploy(root, environment)
        names = {each.role for each in machine.processes if each.role != "server"}
        last = machine.processes[-1]
        wait_until(lambda: asyncio.run(workers_online(names)), last, START_LIMIT, "a worker")
        known = asyncio.run(deployments())
    where = ", ".join(sorted(names))
    how = "deployed" if deployed else "deployed before"
    return [
        f"Prefect   {machine.url}",
        *said,
        f"workers   {where}",
        f"queues    cpu, gpu ({f'{len(cards)} cards' if cards else 'no card here: on the CPU'})",
        f"{how}  {', '.join(sorted(each.name for each in known))}",
        "`tomopt down` ends exactly these",
    ]


def down() -> list[str]:
    """End what ``up`` has started, and nothing else; what to say."""
    machine = read_machine()
    if machine is None:
        return ["nothing of this project is up"]
    workers = [each for each in machine.processes if each.role != "server"]
    ended = end(workers)  # before the server: runs tell it how they ended
    ended += end([each for each in machine.processes if each.role == "server"])
    forget_machine()
    gone = len(machine.processes) - len(ended)
    note = [f"{gone} had ended before"] if gone else []
    return [f"ended: {', '.join(ended) or 'nothing'}", *note]


def _environment(machine: Machine, secret: str) -> dict[str, str]:
    """What server and workers are told; a password goes by the environment, never by arguments."""
    found = {
        "PREFECT_API_URL": f"{machine.url}/api",
        "PREFECT_UI_API_URL": "/api",  # of the address that a browser sees, whichever that is
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_WORKER_QUERY_SECONDS": os.environ.get("PREFECT_WORKER_QUERY_SECONDS", "5"),
    }
    if secret:
        found |= {PASSWORD: secret, "PREFECT_API_AUTH_STRING": secret}
    return found


def _start_workers(
    machine: Machine, environment: dict[str, str], cards: Sequence[str], jobs: int, root: Path
) -> Machine:
    """One worker for the CPU, which takes the queue gpu too where there is no card; one a card."""
    wanted = {"cpu": (["cpu"] if cards else ["cpu", "gpu"], jobs, "")}
    wanted |= {f"gpu{card}": (["gpu"], 1, card) for card in cards}
    alive = {each.role for each in machine.processes if each.process() is not None}
    for role, (queues, limit, card) in wanted.items():
        if role in alive:
            continue
        words = ["prefect", "worker", "start", "--pool", POOL, "--type", "process"]
        words += ["--name", role, "--limit", str(limit)]
        words += [word for queue in queues for word in ("--work-queue", queue)]
        own = {**environment, "CUDA_VISIBLE_DEVICES": card}
        machine = _with(machine, start(role, words, own, root))
    return machine


def _with(machine: Machine, process: Started) -> Machine:
    """Written down at once: whatever happens next, ``down`` finds it."""
    others = [each for each in machine.processes if each.role != process.role]
    processes = (*others, process)
    machine = machine.model_copy(update={"processes": processes})
    write_machine(machine)
    return machine


def _port(host: str, port: int | None) -> int:
    """The port that is asked for, if it is free; else any.

    Raises:
        UserError: somebody else has it.
    """
    for candidate in (PORT, 0) if port is None else (port,):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with closing(socket.socket(family)) as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((host, candidate))
                return int(listener.getsockname()[1])
        except OSError as error:
            if candidate != PORT or port is not None:
                raise UserError(
                    f"the server cannot listen at {host}:{candidate} ({error.strerror}); choose "
                    "another --port, or --host 127.0.0.1"
                ) from error
    return 0


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5):
            return True
    except (URLError, OSError):
        return False
