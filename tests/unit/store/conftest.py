import hashlib

import pytest

from tomopt_tasks.store import open_store


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
