"""A small study, bodies that cost nothing, and ways to hurt a store."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.study import Study
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.runs import body
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

TINY = Path(__file__).with_name("tiny.yaml")


def tiny(**changes: str) -> Study:
    """The small study; ``fit__seed="2"`` changes ``fit.seed``."""
    return load_study(TINY, [(name.replace("__", "."), text) for name, text in changes.items()])


def changed(*changes: tuple[str, str]) -> Study:
    return load_study(TINY, list(changes))


def fake_body(name: str) -> body.Body:
    """A body that stores what it was given: the result is a function of the key."""

    def run(store: Store, key: str, inputs: Any, parents: Mapping[str, Ref]) -> Ref:
        tree = {
            "inputs": inputs.model_dump(mode="json"),
            "parents": {role: ref.sha256 for role, ref in parents.items()},
        }
        metrics = {"loss": 1.0 / (1 + getattr(inputs, "epoch", 0))}
        return store.put_record(KINDS[name], key, tree, metrics)

    return run


@pytest.fixture
def fake_bodies(monkeypatch: pytest.MonkeyPatch) -> dict[str, body.Body]:
    """Bodies without physics, in the place of the real ones; tests may exchange some."""
    bodies = {name: fake_body(name) for name in KINDS}
    monkeypatch.setattr(body, "bodies", lambda: bodies)
    return bodies


def objects(store: Store) -> dict[str, Path]:
    """Key -> file of every committed object: the record, or the manifest of a dataset."""
    root = Path(store.url)
    found = (path for kind in set(KINDS.values()) for path in (root / kind).glob("??/*.*"))
    return {path.name.split(".")[0]: path for path in found}


def flip_bit(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(data))


@contextmanager
def counted() -> Iterator[list[str]]:
    """The keys of the bodies that run inside."""
    before = len(body.executed)
    seen: list[str] = []
    yield seen
    seen.extend(body.executed[before:])
