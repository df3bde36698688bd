from pathlib import Path

import numpy as np
import pytest
import torch
import zarr

from tomopt_tasks.core import UserError
from tomopt_tasks.rng import stream
from tomopt_tasks.store import ArraySpec, KeyCollision, chunks, open_store
from tomopt_tasks.store.codec import ITEM_BYTES
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
    assert chunks.chunk_shape((10, 60, 1000, 1000), ("volume", "z", "x", "y"), 8)[0] == 1
    assert chunks.chunk_shape((10, 3), ("volume", "z"), 8) == (10, 3)
    with pytest.raises(UserError, match="more than a chunk may have"):
        chunks.chunk_shape((1, 2**40), ("volume", "muon"), 8)


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
            pytest.raises(ValueError, match=r"a part|rows came"),
        ):
            draft.put_rows("state", promised, parts)
    with store.draft("bank", key_of("x")) as draft, pytest.raises(ValueError, match="one entry"):
        draft.put_rows("state", ArraySpec.promised((2, 4, 3, 9), "float64", BANK), [])
    assert store.find("bank", key_of("x")) is None
    assert attempts(store, key_of("x")) == 0
