"""Runs: append-only entries ``runs/<id>/<seq>.json``, each published once and never changed."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from tomopt_tasks.store.backend import Backend
from tomopt_tasks.store.errors import Damage
from tomopt_tasks.store.formats import jsonable, seal, unseal
from tomopt_tasks.store.refs import check_run

RUNS = "runs"
MAX_ENTRY_BYTES = 2**26
ENTRY = re.compile(r"([0-9]{8})\.json")

log = logging.getLogger(__name__)


def append(backend: Backend, run_id: str, entry: Mapping[str, object]) -> int:
    """Publish an entry after the last one; its sequence number."""
    check_run(run_id)
    body = {str(name): jsonable(value, str(name)) for name, value in entry.items()}
    taken = numbers(backend, run_id)
    number = taken[-1] + 1 if taken else 0
    while not backend.put_if_absent(
        entry_path(run_id, number), seal("run", body, run=run_id, entry=number)
    ):
        number += 1
    return number


def read_entry(raw: bytes, run_id: str, number: int) -> dict[str, Any]:
    """What an entry says.

    Raises:
        Damage: it is altered, or that of another run or number.
        NewerFormat: intact, but of a newer major version.
    """
    return unseal(raw, "run", f"run {run_id}", run=run_id, entry=number)


def numbers(backend: Backend, run_id: str) -> list[int]:
    """Sorted numbers of the entries that are there; whole if they count from 0."""
    found = (ENTRY.fullmatch(name) for name in backend.children(f"{RUNS}/{run_id}"))
    return sorted(int(match[1]) for match in found if match)


def entry_path(run_id: str, number: int) -> str:
    """Where an entry lies."""
    return f"{RUNS}/{run_id}/{number:08d}.json"


def read(backend: Backend, run_id: str) -> list[dict[str, Any]]:
    """All entries in order; a damaged one is left out with a warning."""
    check_run(run_id)
    entries = []
    for number in numbers(backend, run_id):
        path = entry_path(run_id, number)
        blob = backend.get(path, MAX_ENTRY_BYTES)
        try:
            entries.append(read_entry(blob.data if blob else b"", run_id, number))
        except Damage as damage:
            log.warning("%s: entry %s is left out: %s", run_id, path, damage)
    return entries


def run_ids(backend: Backend) -> list[str]:
    """Sorted ids of all runs that have an entry; an empty folder is none."""
    return sorted({path.split("/")[1] for path in backend.listing(RUNS)})


def recent(backend: Backend) -> list[str]:
    """Ids of all runs, the one with the latest entry first; nothing is read."""
    last: dict[str, float] = {}
    for path, stat in backend.listing(RUNS).items():
        run = path.split("/")[1]
        last[run] = max(last.get(run, 0.0), stat.modified)
    return sorted(last, key=lambda run: (-last[run], run))
