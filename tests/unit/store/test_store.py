import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.unit.store.objects import files_of, put
from tomopt_tasks.core import UserError
from tomopt_tasks.store import KeyCollision, Ref, open_store

TREE = {"x": torch.arange(3.0), "epoch": 2}


def test_a_record_comes_back_as_it_was_put(store, key_of):
    ref = store.put_record("checkpoint", key_of(1), TREE, {"loss": 0.1})
    tree = store.get_record(ref)
    assert tree["epoch"] == 2
    assert torch.equal(tree["x"], TREE["x"])


def test_find_returns_the_whole_ref_with_its_metrics(store, key_of):
    metrics = {"loss": 1 / 3, "rows": [1, 2], "geometry": {"above[0]": {"z": 1.2}}, "none": None}
    ref = store.put_record("checkpoint", key_of(1), TREE, metrics)
    assert ref.metrics == metrics
    assert open_store(store.url).find("checkpoint", key_of(1)) == ref
    assert Ref.model_validate_json(ref.model_dump_json()) == ref


def test_nothing_is_found_where_nothing_was_put(store, key_of):
    assert store.find("checkpoint", key_of(1)) is None
    assert store.keys("checkpoint") == []


def test_keys_lists_records_of_one_kind(store, key_of):
    for name in range(5):
        store.put_record("checkpoint", key_of(name), {})
    store.put_record("evaluation", key_of(9), {})
    assert store.keys("checkpoint") == sorted(key_of(name) for name in range(5))


def test_infinite_metrics_become_null(store, key_of):
    ref = store.put_record("checkpoint", key_of(1), {}, {"a": float("nan"), "b": float("inf")})
    assert ref.metrics == {"a": None, "b": None}


def test_metrics_that_json_cannot_hold_are_refused_with_their_path(store, key_of):
    with pytest.raises(UserError, match=r"metrics\.a\[1\] is a Tensor"):
        store.put_record("checkpoint", key_of(1), {}, {"a": [1, torch.ones(2)]})


def test_putting_the_same_again_succeeds_and_gives_the_same_bytes(store, key_of, object_file):
    first = store.put_record("checkpoint", key_of(1), TREE, {"a": 1})
    before = object_file(first).read_bytes()
    assert store.put_record("checkpoint", key_of(1), TREE, {"a": 1}) == first
    assert object_file(first).read_bytes() == before


def test_other_content_under_the_same_key_is_refused_and_the_first_stays(store, key_of):
    first = store.put_record("checkpoint", key_of(1), TREE)
    with pytest.raises(KeyCollision, match="equal keys must give equal bytes") as caught:
        store.put_record("checkpoint", key_of(1), {"x": 1})
    assert caught.value.kept == first.sha256
    assert store.find("checkpoint", key_of(1)) == first


@pytest.mark.parametrize("kind", ["checkpoint", "volumes"])
def test_what_was_verified_once_is_read_again_only_if_it_changed(store, key_of, monkeypatch, kind):
    ref = put(store, kind, key_of(1))
    for file in files_of(store, ref):
        os.utime(file, (1e9, 1e9))
    assert store.find(kind, key_of(1)) == ref
    read = []
    get = store.backend.get
    monkeypatch.setattr(store.backend, "get", lambda *a, **k: read.append(get(*a, **k)))
    assert store.find(kind, key_of(1)) == ref
    assert [blob for blob in read if blob] == []
    monkeypatch.undo()
    file = files_of(store, ref)[-1]
    file.write_bytes(file.read_bytes()[::-1])
    assert store.find(kind, key_of(1)) is None


@pytest.mark.parametrize("kind", ["checkpoint", "volumes"])
def test_a_change_within_one_tick_of_the_clock_is_not_overlooked(store, key_of, kind):
    ref = put(store, kind, key_of(1))
    assert store.find(kind, key_of(1)) == ref
    file = files_of(store, ref)[-1]
    times = file.stat()
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert store.find(kind, key_of(1)) is None


@pytest.mark.parametrize(
    "key", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 64 + "\n", "g" * 64, "." * 64]
)
def test_a_key_that_is_not_a_digest_is_refused(store, key):
    with pytest.raises(UserError, match="64 lower-case hex"):
        store.put_record("checkpoint", key, {})
    with pytest.raises(UserError, match="64 lower-case hex"):
        store.find("checkpoint", key)
    with pytest.raises(ValueError, match="key"):
        Ref(kind="checkpoint", key=key, sha256="a" * 64, nbytes=0)


@pytest.mark.parametrize("kind", ["", "..", "runs", "a/b", "Bank", ".tmp", "a\n"])
def test_a_kind_that_is_not_a_word_is_refused(store, key_of, kind):
    with pytest.raises(UserError, match="lower-case word"):
        store.put_record(kind, key_of(1), {})


def test_runs_keep_their_entries_in_order(store):
    assert store.read_run("none") == []
    numbers = [store.append_run("run-1", {"stage": i, "seconds": 0.1 * i}) for i in range(12)]
    assert numbers == list(range(12))
    assert [entry["stage"] for entry in store.read_run("run-1")] == numbers
    assert store.runs() == ["run-1"]


@pytest.mark.parametrize("run_id", ["", "..", ".hidden", "a/b", "a\\b", "-x", "a" * 129])
def test_a_run_id_that_is_a_path_is_refused(store, run_id):
    with pytest.raises(UserError, match="plain name"):
        store.append_run(run_id, {})
    with pytest.raises(UserError, match="plain name"):
        store.read_run(run_id)


def test_a_store_that_must_exist_is_not_made(tmp_path):
    with pytest.raises(UserError, match="there is no store"):
        open_store(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_an_unknown_scheme_is_refused():
    with pytest.raises(UserError, match="s3://bucket/prefix"):
        open_store("gopher://host/x")
    with pytest.raises(UserError, match="pass it as a string"):
        open_store(Path("s3://bucket/x"))


def test_finding_needs_neither_torch_nor_zarr(store, key_of):
    ref = store.put_record("checkpoint", key_of(1), TREE)
    code = (
        "import sys; from tomopt_tasks.store import open_store\n"
        f"assert open_store({store.url!r}).find({ref.kind!r}, {ref.key!r}) is not None\n"
        "heavy = {'torch', 'zarr', 'numcodecs', 'obstore', 'prefect'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
