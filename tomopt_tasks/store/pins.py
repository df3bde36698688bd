"""Pins ``pins/<kind>-<key>.json``: objects that no clean-up may give up."""

import re

from tomopt_tasks.store.backend import Backend
from tomopt_tasks.store.errors import Damage, NewerFormat
from tomopt_tasks.store.formats import seal, unseal
from tomopt_tasks.store.refs import check_name

PINS = "pins"
MAX_PIN_BYTES = 2**16
PIN = re.compile(r"([a-z][a-z0-9_]{0,63})-([0-9a-f]{64})\.json")


def pin(backend: Backend, kind: str, key: str) -> None:
    """Keep an object whatever happens; pinning twice is once."""
    path, data = _path(kind, key), seal("pin", {"kind": kind, "key": key})
    if not backend.put_if_absent(path, data) and problem(backend, path):
        backend.delete(path)
        backend.put_if_absent(path, data)


def unpin(backend: Backend, kind: str, key: str) -> None:
    """Take a pin away; no complaint if there is none."""
    backend.delete(_path(kind, key))


def pinned(backend: Backend) -> set[tuple[str, str]]:
    """Kind and key of all pinned objects. The name is the pin, so that damage loses none."""
    found = (PIN.fullmatch(name) for name in backend.children(PINS))
    return {(match[1], match[2]) for match in found if match}


def problem(backend: Backend, path: str) -> str:
    """What is wrong with the file of a pin; empty if nothing."""
    match = PIN.fullmatch(path.rpartition("/")[2])
    blob = backend.get(path, MAX_PIN_BYTES)
    try:
        body = unseal(blob.data if blob else b"", "pin", path)
    except (Damage, NewerFormat) as found:
        return str(found)
    named = match is not None and (body.get("kind"), body.get("key")) == match.groups()
    return "" if named else f"it pins {body.get('kind')} {str(body.get('key'))[:12]}"


def _path(kind: str, key: str) -> str:
    check_name(kind, key)
    return f"{PINS}/{kind}-{key}.json"
