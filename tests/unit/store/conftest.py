import hashlib

import pytest

from tomopt_tasks.store import local, open_store


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """Only a power cut can tell fsync from nothing; the writers of test_commit keep theirs."""
    monkeypatch.setattr(local.os, "fsync", lambda _: None)


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def key_of():
    return lambda name: hashlib.sha256(str(name).encode()).hexdigest()


@pytest.fixture
def object_file(store):
    """The file of a record, or the manifest of a dataset."""

    def find(ref, suffix=".zarr.zip"):
        path = f"{store.url}/{ref.kind}/{ref.key[:2]}/{ref.key}{suffix}"
        return type(store.backend.root)(path)

    return find
