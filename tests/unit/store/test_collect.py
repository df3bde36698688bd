import os
import time

import numpy as np
import pytest

from tomopt_tasks.core import UserError
from tomopt_tasks.store import ArraySpec, DamagedObject, open_store

ARRAYS = {"a": ArraySpec(np.arange(3), ("x",))}


def age(store, hours):
    """Make every file of the store older."""
    then = time.time() - hours * 3600
    for path in store.backend.listing(""):
        os.utime(store.backend.root / path, (then, then))


@pytest.fixture
def littered(store, key_of):
    """A store with committed objects and one leftover of each sort."""
    store.put_record("checkpoint", key_of(1), {"a": 1})
    store.put_dataset("volumes", key_of(2), ARRAYS)
    lost = store.put_dataset("volumes", key_of(3), ARRAYS)
    store.backend.delete(f"volumes/{lost.key[:2]}/{lost.key}.json")
    store.backend.write(".tmp/half", b"x")
    store.backend.write(".damaged/checkpoint/y", b"yy")
    return store


def test_leftovers_are_told_but_kept_by_default(littered):
    age(littered, 25)
    before = littered.backend.listing("").keys()
    garbage = littered.gc()
    assert sorted(item.path.split("/")[0] for item in garbage) == [".damaged", ".tmp", "volumes"]
    assert littered.backend.listing("").keys() == before


def test_leftovers_go_and_committed_objects_stay(littered, key_of):
    age(littered, 25)
    littered.gc(dry_run=False)
    assert littered.gc() == []
    assert littered.find("checkpoint", key_of(1)) is not None
    assert littered.find("volumes", key_of(2)) is not None
    assert not (littered.backend.root / f"volumes/{key_of(3)[:2]}/{key_of(3)}").exists()


def test_what_was_set_aside_today_stays_today_however_old_it_is(store, key_of, object_file):
    ref = store.put_record("checkpoint", key_of(1), {"a": 1})
    object_file(ref).write_bytes(b"damaged")
    age(store, 1000)
    assert open_store(store.url).find("checkpoint", key_of(1)) is None
    assert store.gc() == []
    age(store, 25)
    assert [item.why for item in store.gc()] == ["it was set aside as damaged"]


def test_young_leftovers_may_belong_to_a_live_writer(littered):
    age(littered, 23)
    assert littered.gc() == []
    with pytest.raises(UserError, match="at least 3600 s"):
        littered.gc(older_than=0)


@pytest.mark.parametrize("kind", ["checkpoint", "volumes"])
def test_a_retired_object_leaves_its_metrics(store, key_of, kind):
    if kind == "checkpoint":
        ref = store.put_record(kind, key_of(1), {"a": 1}, {"loss": 0.5})
    else:
        ref = store.put_dataset(kind, key_of(1), ARRAYS, metrics={"loss": 0.5})
    assert store.tombstone(kind, key_of(1)) is None
    store.retire(ref)
    assert store.find(kind, key_of(1)) is None
    assert store.keys(kind) == []
    assert open_store(store.url).tombstone(kind, key_of(1)) == ref
    with pytest.raises(DamagedObject):
        store.get_record(ref) if kind == "checkpoint" else store.open_dataset(ref)
    assert [p for p in store.backend.listing(kind) if not p.endswith(".gone.json")] == []


def test_a_retired_object_can_be_made_again(store, key_of):
    ref = store.put_dataset("volumes", key_of(1), ARRAYS)
    store.retire(ref)
    assert store.put_dataset("volumes", key_of(1), ARRAYS) == ref
    assert store.find("volumes", key_of(1)) == ref


def test_kinds_are_the_folders_of_objects(littered):
    littered.append_run("run", {})
    assert littered.kinds() == ["checkpoint", "volumes"]
