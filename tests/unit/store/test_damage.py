"""Whatever happens to the bytes, a damaged object is never believed and can be made again."""

import shutil

import numpy as np
import pytest
import torch

from tests.unit.store.objects import files_of, put, read
from tomopt_tasks.rng import stream
from tomopt_tasks.store import ArraySpec, DamagedObject, chunks, open_store


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "TARGET_BYTES", 1000)


@pytest.fixture(params=["checkpoint", "volumes"])
def ref(request, store, key_of):
    return put(store, request.param, key_of("it"))


def delete(file):
    file.unlink()


def truncate(file):
    file.write_bytes(file.read_bytes()[:-1])


def empty(file):
    file.write_bytes(b"")


def extend(file):
    file.write_bytes(file.read_bytes() + b"\0")


def flip(file, where=0.5, bit=3):
    data = bytearray(file.read_bytes())
    data[int(where * (len(data) - 1))] ^= 1 << bit
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [delete, truncate, empty, extend, flip])
def test_any_harm_to_any_file_is_found_and_healed(store, ref, harm):
    for number in range(len(files_of(store, ref))):
        harm(files_of(store, ref)[number])
        for looking in (store, open_store(store.url)):
            assert looking.find(ref.kind, ref.key) is None
        again = put(store, ref.kind, ref.key)
        assert again == ref
        assert store.find(ref.kind, ref.key) == ref
        read(store, ref)
        shutil.rmtree(store.backend.root / ref.kind)
        put(store, ref.kind, ref.key)


def test_every_single_bit_of_a_record_counts(store, key_of, object_file):
    ref = store.put_record("checkpoint", key_of(1), {"a": 1})
    file = object_file(ref)
    whole = file.read_bytes()
    rng = stream(1, "bits")
    for position in torch.randint(len(whole) * 8, (300,), generator=rng).tolist():
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        file.write_bytes(bytes(data))
        assert store.find("checkpoint", key_of(1)) is None, position


def test_every_single_bit_of_a_manifest_counts(store, key_of, object_file):
    ref = store.put_dataset("volumes", key_of(1), {"a": ArraySpec(np.arange(3), ("x",))})
    file = object_file(ref, ".json")
    whole = file.read_bytes()
    rng = stream(2, "bits")
    for position in torch.randint(len(whole) * 8, (300,), generator=rng).tolist():
        data = bytearray(whole)
        data[position // 8] ^= 1 << position % 8
        file.write_bytes(bytes(data))
        assert store.find("volumes", key_of(1)) is None, position


def test_reading_a_damaged_object_says_so_and_sets_it_aside(store, ref):
    flip(files_of(store, ref)[0])
    with pytest.raises(DamagedObject, match=r"set aside as \.damaged/"):
        read(open_store(store.url), ref)
    assert put(store, ref.kind, ref.key) == ref
    assert len(store.backend.listing(".damaged")) == 1


def test_a_chunk_that_is_damaged_after_opening_is_not_handed_out(store, key_of):
    opened = store.open_dataset(put(store, "volumes", key_of(1)))
    chunk = next(f for f in files_of(store, opened.ref) if f.name == "c.0.0")
    flip(chunk)
    with pytest.raises(DamagedObject, match=r"x0/c\.0\.0"):
        opened.array("x0")
    assert store.find("volumes", key_of(1)) is None


def test_a_lost_object_is_one_sentence(store, ref):
    shutil.rmtree(store.backend.root / ref.kind)
    with pytest.raises(DamagedObject, match="is not in the store; run again"):
        read(store, ref)


def test_an_object_under_another_name_is_not_believed(store, ref, key_of):
    other = key_of("other")
    for file in files_of(store, ref):
        target = store.backend.root / str(file.relative_to(store.backend.root)).replace(
            f"{ref.key[:2]}/{ref.key}", f"{other[:2]}/{other}"
        )
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    assert store.find(ref.kind, other) is None
    assert store.find(ref.kind, ref.key) == ref


def test_two_swapped_chunks_are_found(store, key_of):
    ref = put(store, "volumes", key_of(1))
    first, second = (f for f in files_of(store, ref) if f.name in {"c.0.0", "c.1.0"})
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    assert store.find("volumes", key_of(1)) is None


def test_a_ref_to_older_content_is_told_apart(store, ref):
    stale = ref.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(DamagedObject, match="find it again by its key"):
        read(store, stale)
    assert store.find(ref.kind, ref.key) == ref
