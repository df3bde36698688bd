from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream
from tomopt_tasks.store import ArraySpec, KeyCollision, chunks, open_store
from tomopt_tasks.store.codec import ITEM_BYTES
from tomopt_tasks.store.datasets import Dataset
from tomopt_tasks.store.refs import base_path


def normal(*shape):
    return torch.randn(shape, generator=stream(1, "normal"), dtype=torch.float64).numpy()


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "TARGET_BYTES", 1000)


@pytest.fixture
def bank(store, key_of, small_chunks):
    arrays = {
        "state": ArraySpec(normal(2, 11, 3, 9), ("replica", "volume", "muon", "column"), "m"),
        "generated": ArraySpec(np.arange(22).reshape(2, 11), ("replica", "volume")),
        "volume": ArraySpec(np.arange(11), ("volume",), description="index of the volume"),
        "rate": ArraySpec(np.array(4.5, dtype=np.float32), (), "Hz"),
    }
    ref = store.put_dataset("bank", key_of("bank"), arrays, {"rate_hz": 7.5, "plane": [1, 2]})
    return ref, {name: spec.data for name, spec in arrays.items()}


def test_arrays_come_back_with_equal_bits(store, bank):
    ref, arrays = bank
    opened = open_store(store.url).open_dataset(ref)
    assert opened.names == tuple(sorted(arrays))
    for name, data in arrays.items():
        back = opened.array(name)
        assert back.dtype == data.dtype
        np.testing.assert_array_equal(back, data)
    assert opened.attrs == {"rate_hz": 7.5, "plane": [1, 2]}
    assert opened.info("state").attributes == {"units": "m"}


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
def test_every_dtype_comes_back(store, key_of, dtype, small_chunks):
    data = (normal(300) * 100).astype(dtype)
    ref = store.put_dataset("bank", key_of(dtype), {"a": ArraySpec(data, ("row",))})
    back = store.open_dataset(ref).array("a")
    assert back.dtype == dtype
    assert back.tobytes() == data.tobytes()
    with_zarr = zarr.open_group(store.open_dataset(ref).url, mode="r", zarr_format=3)["a"]
    assert with_zarr[:].tobytes() == data.tobytes()


@pytest.mark.parametrize(
    "rows",
    [slice(0, 3), slice(2, 9), slice(5, 5), slice(None, None, 3), slice(-3, None), slice(8, 2)],
    ids=str,
)
def test_rows_are_those_along_the_volume_axis(store, bank, rows):
    ref, arrays = bank
    opened = store.open_dataset(ref)
    np.testing.assert_array_equal(opened.rows("state", rows), arrays["state"][:, rows])
    np.testing.assert_array_equal(opened.rows("volume", rows), arrays["volume"][rows])


def test_xarray_opens_it_with_dims_units_and_coordinates(store, bank):
    xarray = pytest.importorskip("xarray")
    ref, arrays = bank
    opened = xarray.open_zarr(store.open_dataset(ref).url, consolidated=False, chunks=None)
    assert opened["state"].dims == ("replica", "volume", "muon", "column")
    assert opened["state"].attrs["units"] == "m"
    assert list(opened.coords) == ["volume"]
    assert opened.attrs["rate_hz"] == 7.5
    for name, data in arrays.items():
        np.testing.assert_array_equal(opened[name].to_numpy(), data)


def test_nan_payloads_and_signed_zeros_survive(store, key_of):
    bits = np.array([0x7FF8000000ABCDEF, 0x8000000000000000, 0x7FF0000000000000], dtype=np.uint64)
    ref = store.put_dataset("bank", key_of(1), {"a": ArraySpec(bits.view(np.float64), ("row",))})
    np.testing.assert_array_equal(store.open_dataset(ref).array("a").view(np.uint64), bits)


def test_arrays_without_rows_are_kept(store, key_of):
    ref = store.put_dataset("bank", key_of(1), {"a": ArraySpec(np.zeros((0, 3)), ("row", "x"))})
    assert store.open_dataset(ref).array("a").shape == (0, 3)


def test_other_byte_orders_and_strides_give_the_same_content(store, key_of):
    data = normal(4, 3)
    same = [data, np.asfortranarray(data), data.astype(">f8")]
    refs = {
        store.put_dataset("bank", key_of(1), {"a": ArraySpec(d, ("row", "x"))})
        and store.find("bank", key_of(1)).sha256
        for d in same
    }
    assert len(refs) == 1


def test_equal_work_in_two_stores_gives_equal_files(tmp_path, key_of):
    def files(name):
        store = open_store(tmp_path / name)
        arrays = {"a": ArraySpec(normal(50), ("row",)), "b": ArraySpec(np.arange(9), ("x",))}
        dataset = store.open_dataset(store.put_dataset("bank", key_of(1), arrays, {"z": 1, "a": 2}))
        return {
            p.relative_to(dataset.url): p.read_bytes()
            for p in Path(dataset.url).rglob("*")
            if p.is_file()
        }

    assert files("one") == files("two")


def test_chunks_are_whole_volumes_of_a_few_megabytes():
    shape, dims = (1, 5000, 1000, 9), ("replica", "volume", "muon", "column")
    assert chunks.chunk_shape(shape, dims, 8) == (1, 58, 1000, 9)  # 58 * 72 kB = 4.2 MB
    assert chunks.chunk_shape((1, 2, 90_000, 9), dims, 8) == (1, 1, 58_254, 9)  # 4 MB of muons
    grids = ("volume", "z", "x", "y")
    assert chunks.chunk_shape((10, 60, 1000, 1000), grids, 8) == (1, 1, 1000, 1000)
    assert chunks.chunk_shape((10, 3), ("volume", "z"), 8) == (10, 3)
    with pytest.raises(UserError, match="more than a chunk may have"):
        chunks.chunk_shape((1, 3, 2**40), ("volume", "muon", "column"), 8)


def test_other_content_under_the_same_key_is_refused_and_leaves_nothing(store, key_of):
    arrays = {"a": ArraySpec(np.arange(3), ("row",))}
    first = store.put_dataset("bank", key_of(1), arrays)
    assert store.put_dataset("bank", key_of(1), arrays) == first
    before = sorted(store.backend.listing(""))
    for changed in ({"attrs": {"x": 1}}, {"metrics": {"n": 1}}):
        with pytest.raises(KeyCollision):
            store.put_dataset("bank", key_of(1), arrays, **changed)
    assert sorted(store.backend.listing("")) == before


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": ArraySpec(np.array(["x"]), ("row",))}, "has dtype"),
        ({"a": ArraySpec(np.array([None]), ("row",))}, "has dtype"),
        ({"a": ArraySpec(np.zeros(2), ("row", "x"))}, "one name for each axis"),
        ({"a": ArraySpec(np.zeros((2, 2)), ("row", "row"))}, "one name for each axis"),
        ({"../a": ArraySpec(np.zeros(2), ("row",))}, "not a plain word"),
        ({"a": ArraySpec(np.zeros(2), ("",))}, "not a plain word"),
        ({"row": ArraySpec(np.zeros((2, 2)), ("row", "x"))}, "take it for a coordinate"),
        (
            {"a": ArraySpec(np.zeros(2), ("row",)), "b": ArraySpec(np.zeros(3), ("row",))},
            "length 2 in array 'a' but 3",
        ),
        ({"a": ArraySpec(np.zeros(2), ("row",), attrs={"units": "m"})}, "set by units"),
    ],
)
def test_arrays_that_xarray_would_not_open_are_refused(store, key_of, arrays, message):
    with pytest.raises(UserError, match=message):
        store.put_dataset("bank", key_of(1), arrays)
    assert store.backend.listing("bank") == {}


def test_an_unknown_array_is_one_sentence_with_the_known_ones(store, bank):
    with pytest.raises(UserError, match="generated, rate, state, volume"):
        store.open_dataset(bank[0]).array("x0")


def test_the_views_of_a_record_open_in_xarray_and_zarr(store, key_of, object_file):
    xarray = pytest.importorskip("xarray")
    views = {
        "history": ArraySpec(normal(5, 2), ("epoch", "metric"), attrs={"names": ["loss", "mse"]}),
        "detector": ArraySpec(normal(4), ("parameter",), "m"),
    }
    tree = {"w": torch.ones(3), "b": torch.ones(2, dtype=torch.bfloat16)}
    ref = store.put_record("checkpoint", key_of(1), tree, {"loss": 1.0}, views)
    assert torch.equal(store.get_record(ref)["b"], tree["b"])
    with zarr.storage.ZipStore(object_file(ref), mode="r") as archive:
        opened = xarray.open_zarr(archive, consolidated=False, chunks=None)
        np.testing.assert_array_equal(opened["history"], views["history"].data)
        assert opened["history"].attrs["names"] == ["loss", "mse"]
        assert opened.attrs["metrics"] == {"loss": 1.0}
        packed = zarr.open_group(archive, mode="r", zarr_format=3)["t_float32"]
        np.testing.assert_array_equal(packed[:], [1, 1, 1])


def test_a_view_may_not_take_a_reserved_name(store, key_of):
    for name in ("skeleton", "t_float32", "n_x"):
        with pytest.raises(UserError, match="reserved"):
            store.put_record(
                "checkpoint", key_of(1), {}, views={name: ArraySpec(np.zeros(1), ("x",))}
            )


def parts_of(data, *lengths):
    start = 0
    for length in lengths:
        yield data[:, start : start + length]
        start += length


def attempts(store, key):
    paths = store.backend.listing(base_path("bank", key))
    return len({path.split("/")[3] for path in paths})


BANK = ("replica", "volume", "muon", "column")


@pytest.mark.parametrize("lengths", [(11,), (1,) * 11, (4, 0, 6, 1)], ids=["one", "each", "some"])
def test_an_array_in_parts_is_stored_as_if_it_came_whole(store, key_of, small_chunks, lengths):
    data, counts = normal(1, 11, 3, 9), ArraySpec(np.arange(11), ("volume",))
    whole = {"state": ArraySpec(data, BANK, "m", "states"), "counts": counts}
    expected = store.put_dataset("bank", key_of("whole"), whole, {"rate": 2.0}, {"n": 11})
    promised = ArraySpec.promised(data.shape, "float64", BANK, units="m", description="states")
    with store.draft("bank", key_of("parts")) as draft:
        draft.put_rows("state", promised, parts_of(data, *lengths))
        ref = store.commit(draft, {"counts": counts}, {"rate": 2.0}, {"n": 11})
    assert (ref.sha256, ref.metrics) == (expected.sha256, expected.metrics)
    back = open_store(store.url).open_dataset(ref)
    np.testing.assert_array_equal(back.array("state"), data)
    one, other = (store.open_dataset(r)._manifest.objects for r in (ref, expected))
    assert {n: e for n, e in one.items() if n != "zarr.json"} == {
        n: e for n, e in other.items() if n != "zarr.json"
    }
    with store.draft("bank", key_of("whole")) as draft:  # once more, under the key that is there
        draft.put_rows("state", promised, parts_of(data, *lengths))
        assert store.commit(draft, {"counts": counts}, {"rate": 2.0}, {"n": 11}) == expected
    with store.draft("bank", key_of("whole")) as draft:
        draft.put_rows("state", promised, parts_of(-data, *lengths))
        with pytest.raises(KeyCollision):
            store.commit(draft, {"counts": counts}, {"rate": 2.0}, {"n": 11})
    assert store.find("bank", key_of("whole")) == expected
    assert attempts(store, key_of("whole")) == 1


LONG = (1, 3, 100, 9)
"""Rows of 7200 bytes, where a chunk has no more than 1000: 13 muons."""


@pytest.mark.parametrize("lengths", [(100,), (30, 70), (13,) * 7 + (9,), (1,) * 100], ids=len)
@pytest.mark.parametrize("rows", [1, 3])
def test_rows_longer_than_a_chunk_are_cut_and_come_in_stretches(
    store, key_of, small_chunks, rows, lengths
):
    data = normal(*LONG)
    expected = store.put_dataset("bank", key_of("whole"), {"state": ArraySpec(data, BANK)})
    ends = np.cumsum(lengths)
    stretches = [
        data[:, row : row + 1, end - n : end]
        for row in range(3)
        for n, end in zip(lengths, ends, strict=True)
    ]
    if rows == 3:
        stretches = [data] if len(lengths) == 1 else [data[:, :1], *stretches[len(lengths) :]]
    with store.draft("bank", key_of("parts")) as draft:
        draft.put_rows("state", ArraySpec.promised(LONG, "float64", BANK), stretches)
        ref = store.commit(draft, {}, {}, {})
    assert ref.sha256 == expected.sha256
    one, other = (store.open_dataset(r)._manifest.objects for r in (ref, expected))
    chunks_of = {name: entry for name, entry in one.items() if "/c." in name}
    assert len(chunks_of) == 3 * 8
    assert chunks_of == {name: entry for name, entry in other.items() if "/c." in name}
    opened = open_store(store.url).open_dataset(ref)
    np.testing.assert_array_equal(opened.array("state"), data)
    with_zarr = zarr.open_group(opened.url, mode="r", zarr_format=3)["state"]
    np.testing.assert_array_equal(with_zarr[:], data)


def test_a_stretch_of_a_row_reads_its_own_chunks_alone(store, key_of, small_chunks, monkeypatch):
    data = normal(*LONG)
    ref = store.put_dataset("bank", key_of("whole"), {"state": ArraySpec(data, BANK)})
    opened, read = store.open_dataset(ref), []
    chunk = Dataset._chunk
    monkeypatch.setattr(
        Dataset, "_chunk", lambda self, n, m, index: read.append(index) or chunk(self, n, m, index)
    )
    for part in (slice(20, 40), slice(0, 13), slice(95, None), slice(5, 5)):
        found = opened.rows("state", slice(1, 2), part)
        np.testing.assert_array_equal(found, data[:, 1:2, part])
    assert read == [(0, 1, k, 0) for k in (1, 2, 3, 0, 7)]


def test_stretches_of_several_rows_in_one_part_are_refused(store, key_of, small_chunks):
    """Half of each row after half of each row would be other rows."""
    data = normal(*LONG)
    promised = ArraySpec.promised(LONG, "float64", BANK)
    parts = [data[:, :, :50], data[:, :, 50:]]
    with (
        store.draft("bank", key_of("x")) as draft,
        pytest.raises(ValueError, match="stretches of several rows"),
    ):
        draft.put_rows("state", promised, parts)
    assert store.find("bank", key_of("x")) is None


def test_parts_without_any_row_change_nothing(store, key_of, small_chunks):
    data = normal(*LONG)
    expected = store.put_dataset("bank", key_of("whole"), {"state": ArraySpec(data, BANK)})
    with store.draft("bank", key_of("parts")) as draft:
        promised = ArraySpec.promised(LONG, "float64", BANK)
        draft.put_rows("state", promised, [data[:, :0], data[:, :, :0], data])
        ref = store.commit(draft, {}, {}, {})
    assert ref.sha256 == expected.sha256
    nothing = ArraySpec.promised((1, 0, 2, 9), "float64", BANK)
    with (
        store.draft("bank", key_of("none")) as draft,
        pytest.raises(ValueError, match="1 steps along 'volume' came, but 0 were promised"),
    ):
        draft.put_rows("state", nothing, [normal(1, 1, 2, 9)])


@pytest.mark.parametrize("n", [99, 101, 299, 301])
def test_stretches_that_are_too_few_or_too_many_leave_nothing(store, key_of, small_chunks, n):
    data = normal(1, 1, n, 9)
    promised = ArraySpec.promised((1, n // 100 or 1, 100, 9), "float64", BANK)
    with (
        store.draft("bank", key_of("x")) as draft,
        pytest.raises(ValueError, match="steps along 'muon' came"),
    ):
        draft.put_rows("state", promised, [data[:, :, k : k + 7] for k in range(0, n, 7)])
    assert store.find("bank", key_of("x")) is None
    assert attempts(store, key_of("x")) == 0


def test_parts_that_are_not_what_was_promised_leave_nothing(store, key_of):
    data = normal(1, 4, 3, 9)
    promised = ArraySpec.promised(data.shape, "float64", BANK)
    wrong = {
        "rows": [data[:, :3]],
        "more": [data, data],
        "shape": [data[:, :, :2]],
        "dtype": [data.astype(np.float32)],
    }
    for parts in wrong.values():
        with (
            store.draft("bank", key_of("x")) as draft,
            pytest.raises(ValueError, match=r"a part|steps along 'volume' came"),
        ):
            draft.put_rows("state", promised, parts)
    with store.draft("bank", key_of("x")) as draft, pytest.raises(ValueError, match="one entry"):
        draft.put_rows("state", ArraySpec.promised((2, 4, 3, 9), "float64", BANK), [])
    assert store.find("bank", key_of("x")) is None
    assert attempts(store, key_of("x")) == 0
