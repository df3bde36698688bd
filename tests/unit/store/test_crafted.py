"""Stores made by somebody with bad intentions, or by another version; all digests fit."""

import json
import shutil
import zipfile

import pytest
import torch

from tests.unit.store.objects import files_of, put, read
from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream
from tomopt_tasks.store import DamagedObject, NewerFormat, chunks, formats, open_store, zstd
from tomopt_tasks.store.formats import canonical, digest, seal
from tomopt_tasks.store.records import COMMENT, TAIL


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "TARGET_BYTES", 1000)


@pytest.fixture(params=["checkpoint", "volumes"])
def ref(request, store, key_of):
    return put(store, request.param, key_of("it"))


def repack(file, change):
    """Change a record's entries and make its digest fit again."""
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    file.unlink()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        archive.comment = bytes(TAIL)
    body = file.read_bytes()[:-TAIL]
    file.write_bytes(body + COMMENT + digest(body).encode())


def edit(entries, name, **fields):
    entries[name] = canonical(json.loads(entries[name]) | fields)


PICKLE = [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: edit(e, "t_float32/zarr.json", codecs=PICKLE), "reads only 'bytes' and 'zstd'"),
        (lambda e: edit(e, "t_float32/zarr.json", filters=[{"id": "pickle"}]), "never writes"),
        (lambda e: edit(e, "t_float32/zarr.json", zarr_format=2), "not Zarr format 3"),
        (lambda e: edit(e, "t_float32/zarr.json", data_type="object"), "data type 'object'"),
        (lambda e: edit(e, "t_float32/zarr.json", data_type="float64"), "not a packed buffer"),
        (lambda e: edit(e, "t_float32/zarr.json", shape=[10**13]), "beyond the bounds"),
        (lambda e: edit(e, "t_float32/zarr.json", shape=[-1]), "malformed shape"),
        (lambda e: edit(e, "t_float32/zarr.json", shape=[2**70]), "malformed shape"),
        (lambda e: e.update({"t_float32/zarr.json": b"[" * 100_000}), "JSON cannot be read"),
        (lambda e: e.update({"t_float32/zarr.json": b"{\xff"}), "JSON cannot be read"),
        (lambda e: e.update({"t_float32/c.0": b""}), "has 0 bytes"),
        (lambda e: e.update({"../../etc/passwd": b"x"}), "never writes"),
        (lambda e: e.update({"/abs": b"x"}), "never writes"),
        (lambda e: e.pop("skeleton/c.0"), "cannot be read"),
        (lambda e: e.pop("t_float32/zarr.json"), "cannot be read"),
    ],
    ids=[str(i) for i in range(15)],
)
def test_a_crafted_record_is_refused(store, key_of, object_file, change, message):
    ref = put(store, "checkpoint", key_of(1))
    file = object_file(ref)
    repack(file, change)
    crafted = ref.model_copy(update={"sha256": digest(file.read_bytes())})
    with pytest.raises(DamagedObject, match=message):
        open_store(store.url).get_record(crafted)


def test_random_bytes_with_a_fitting_digest_are_damage_and_nothing_else(store, key_of, object_file):
    ref = put(store, "checkpoint", key_of(1))
    file = object_file(ref)
    whole = file.read_bytes()
    rng = stream(3, "fuzz")
    for _ in range(300):
        body = bytearray(whole[:-TAIL])
        for where in torch.randint(len(body), (8,), generator=rng).tolist():
            body[where] = int(torch.randint(256, (1,), generator=rng))
        data = bytes(body) + COMMENT + digest(bytes(body)).encode()
        file.write_bytes(data)
        crafted = ref.model_copy(update={"sha256": digest(data)})
        try:
            open_store(store.url).get_record(crafted)
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_compressed_record_is_refused(store, key_of, object_file):
    ref = put(store, "checkpoint", key_of(1))
    file = object_file(ref)
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
        archive.comment = bytes(TAIL)
    body = file.read_bytes()[:-TAIL]
    file.write_bytes(body + COMMENT + digest(body).encode())
    assert store.find("checkpoint", key_of(1)) is None


def reseal(store, ref, change, attempt_change=None):
    """Change a dataset's manifest and make its seal fit again."""
    file = next(f for f in files_of(store, ref) if f.suffix == ".json" and f.stem == ref.key)
    body = json.loads(file.read_text())["body"]
    if attempt_change:
        name, raw = attempt_change
        path = file.parent / ref.key / body["attempt"] / name
        path.write_bytes(raw(path.read_bytes()))
        data = path.read_bytes()
        body["objects"][name] = [len(data), digest(data)]
    change(body)
    file.write_bytes(seal("manifest", body))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.update(attempt="../../../etc"), "not a plain name"),
        (lambda b: b["objects"].update({"../../x": [1, "0" * 64]}), "never writes"),
        (lambda b: b["objects"].update({"/etc/passwd": [1, "0" * 64]}), "never writes"),
        (lambda b: b["objects"].update({"x0/c.0.0": [-1, "0" * 64]}), "never writes"),
        (lambda b: b["objects"].update({"x0/c.0.0": "x"}), "never writes"),
        (lambda b: b["objects"].pop("x0/c.0.0"), "claims 5 chunks, its manifest 4"),
        (lambda b: b["objects"].pop("x0/zarr.json"), "lists no x0/zarr.json"),
        (lambda b: b["objects"].pop("zarr.json"), "lists no zarr.json"),
        (lambda b: b.update(objects=[]), "lists no objects"),
        (lambda b: b.update(content="x"), "malformed"),
        (lambda b: b.update(metrics=None), "malformed"),
    ],
    ids=[str(i) for i in range(11)],
)
def test_a_crafted_manifest_is_refused(store, key_of, change, message):
    ref = put(store, "volumes", key_of(1))
    reseal(store, ref, change)
    with pytest.raises(DamagedObject, match=message):
        open_store(store.url).open_dataset(ref)


def edited(**fields):
    return lambda raw: canonical(json.loads(raw) | fields)


def grid(*shape):
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"codecs": PICKLE}, "reads only"),
        ({"zarr_format": 2, "filters": [{"id": "pickle"}]}, "not Zarr format 3"),
        ({"storage_transformers": [{"name": "x"}]}, "never writes"),
        ({"shape": [10**13, 30]}, "beyond the bounds"),
        ({"shape": [20, 30], "chunk_grid": grid(2**40, 30)}, "beyond the bounds"),
        ({"shape": [2**20, 30]}, "claims"),
        ({"shape": [20, 30], "chunk_grid": grid(0, 30)}, "malformed"),
        ({"shape": [20]}, "unequal length"),
        ({"chunk_grid": {"name": "rectilinear"}}, "malformed"),
        ({"data_type": "string"}, "data type 'string'"),
        ({"dimension_names": None}, "no dimension names"),
    ],
    ids=[str(i) for i in range(11)],
)
def test_crafted_array_metadata_is_refused(store, key_of, fields, message):
    ref = put(store, "volumes", key_of(1))
    reseal(store, ref, lambda body: None, ("x0/zarr.json", edited(**fields)))
    assert open_store(store.url).find("volumes", key_of(1)) is None
    ref = put(store, "volumes", key_of(1))
    reseal(store, ref, lambda body: None, ("x0/zarr.json", edited(**fields)))
    with pytest.raises(DamagedObject, match=message):
        open_store(store.url).open_dataset(ref)


@pytest.mark.parametrize("content", [bytes(10**8), b"short", b"", bytes(960 - 8)], ids=len)
def test_a_chunk_that_unpacks_to_another_size_than_it_says_is_refused(store, key_of, content):
    ref = put(store, "volumes", key_of(1))
    reseal(store, ref, lambda body: None, ("x0/c.0.0", lambda _: zstd.compress(content)))
    with pytest.raises(DamagedObject, match="its metadata say 960"):
        open_store(store.url).open_dataset(ref).array("x0")


def test_the_size_in_a_frame_is_the_size_of_its_content():
    for size in (0, 1, 255, 256, 257, 65_791, 65_792, 10**6):
        assert zstd.content_size(zstd.compress(bytes(size))) == size
    assert zstd.content_size(b"no frame at all") is None


# -------------------------------------------------------------------- versions


def test_a_newer_minor_version_is_read(monkeypatch, tmp_path, key_of):
    monkeypatch.setattr(formats, "VERSION", "1.9")
    store = open_store(tmp_path / "new")
    refs = [put(store, kind, key_of(1)) for kind in ("checkpoint", "volumes")]
    monkeypatch.undo()
    for ref in refs:
        assert open_store(store.url).find(ref.kind, ref.key) == ref


def test_a_newer_major_version_is_refused_and_left_alone(monkeypatch, store, ref):
    shutil.rmtree(store.backend.root / ref.kind)
    monkeypatch.setattr(formats, "VERSION", "2.0")
    put(store, ref.kind, ref.key)
    monkeypatch.undo()
    for look in (lambda s: s.find(ref.kind, ref.key), lambda s: read(s, ref)):
        with pytest.raises(NewerFormat, match=r"format version 2\.0, newer than 1\.0"):
            look(open_store(store.url))
    assert store.backend.listing(".damaged") == {}


def test_a_newer_store_is_refused_at_opening(monkeypatch, tmp_path):
    monkeypatch.setattr(formats, "VERSION", "3.1")
    open_store(tmp_path / "new")
    monkeypatch.undo()
    with pytest.raises(NewerFormat, match="upgrade tomopt"):
        open_store(tmp_path / "new")


def test_an_older_major_version_is_migrated_where_there_is_a_way(monkeypatch, store, ref):
    monkeypatch.setattr(formats, "VERSION", "2.0")
    with pytest.raises(UserError, match="no longer reads"):
        open_store(store.url)
    monkeypatch.setitem(formats.MIGRATIONS, 1, lambda found: found | {"version": "2.0"})
    assert open_store(store.url).find(ref.kind, ref.key) == ref


def test_a_folder_with_a_foreign_mark_is_refused(tmp_path):
    (tmp_path / "STORE.json").write_text("{}")
    with pytest.raises(UserError, match="does not mark a store"):
        open_store(tmp_path)
