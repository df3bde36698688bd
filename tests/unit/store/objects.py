"""One record and one dataset that the tests of this folder harm."""

import numpy as np
import torch

from tomopt_tasks.store import ArraySpec

TREE = {"w": torch.arange(50.0), "rows": [1, 2.5]}
ARRAYS = {
    "x0": ArraySpec(np.arange(600.0).reshape(20, 30), ("volume", "x"), "m"),
    "target": ArraySpec(np.arange(20.0), ("volume",)),
}


def put(store, kind, key):
    if kind == "checkpoint":
        return store.put_record(kind, key, TREE, {"loss": 0.5})
    return store.put_dataset(kind, key, ARRAYS, {"family": "ladle"}, {"n": 20})


def read(store, ref):
    if ref.kind == "checkpoint":
        return store.get_record(ref)
    opened = store.open_dataset(ref)
    return [opened.array(name) for name in opened.names]


def files_of(store, ref):
    """All files of an object, by relative path."""
    return sorted(
        store.backend.root / path for path in store.backend.listing(ref.kind) if ref.key in path
    )
