"""Pins ``pins/<kind>-<key>.json``: objects that no clean-up may give up."""

import re

from tomopt_tasks.store.backend import Backend
from tomopt_tasks.store.formats import seal
from tomopt_tasks.store.refs import check_name

PINS = "pins"
PIN = re.compile(r"([a-z][a-z0-9_]{0,63})-([0-9a-f]{64})\.json")


def pin(backend: Backend, kind: str, key: str) -> None:
    """Keep an object whatever happens; pinning twice is once."""
    backend.put_if_absent(_path(kind, key), seal("pin", {"kind": kind, "key": key}))


def unpin(backend: Backend, kind: str, key: str) -> None:
    """Take a pin away; no complaint if there is none."""
    backend.delete(_path(kind, key))


def pinned(backend: Backend) -> set[tuple[str, str]]:
    """Kind and key of all pinned objects. The name is the pin, so that damage loses none."""
    found = (PIN.fullmatch(name) for name in backend.children(PINS))
    return {(match[1], match[2]) for match in found if match}


def _path(kind: str, key: str) -> str:
    check_name(kind, key)
    return f"{PINS}/{kind}-{key}.json"
