"""What a real study has stored opens in xarray and in plain Zarr, without this package's code."""

import numpy as np
import pytest

from tests.pipeline.common import tiny
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.store.refs import record_path

zarr = pytest.importorskip("zarr")
xarray = pytest.importorskip("xarray")


def refs(store) -> dict:
    return {stage.label: store.find(stage.kind, stage.key) for stage in plan_study(tiny())}


def opened(store, label: str):
    url = store.open_dataset(refs(store)[label]).url
    return xarray.open_zarr(url, consolidated=False, chunks=None)


def test_volumes_open_with_axes_units_and_the_numbers_that_are_fitted(store):
    found = opened(store, "train volumes")
    assert found["x0"].dims == ("volume", "z", "x", "y")
    assert found["x0"].shape == (4, 10, 10, 10)
    assert (found["x0"].attrs["units"], found["x0"].attrs["long_name"]) == ("m", "radiation length")
    stored = store.open_dataset(refs(store)["train volumes"])
    np.testing.assert_array_equal(found["x0"].to_numpy(), stored.array("x0"))
    assert sorted(np.unique(found["target"]).round(6)) == [0.7, 1.1]
    assert found.attrs["store"]["format"] == "tomopt.store"


def test_a_bank_opens_with_the_names_of_its_columns(store):
    found = opened(store, "test bank")
    assert found["state"].dims == ("replica", "volume", "muon", "column")
    columns = found["state"].attrs["columns"]
    momentum = found["state"].isel(column=columns.index("momentum"))
    assert set(np.unique(momentum)) == {5.0}
    assert found["generated"].dims == ("replica", "volume")


def test_predictions_open_beside_the_truth(store):
    found = opened(store, "fit on test")
    assert found["prediction"].dims[-1] == "volume"
    error = found["prediction"].isel({found["prediction"].dims[0]: -1}) - found["truth"]
    assert error.shape == (6,)
    assert np.isfinite(error).any()
    assert found.attrs["budget_used"] == pytest.approx(6.0)


def checkpoint(store, label: str):
    """The group of a checkpoint by the zarr library alone."""
    ref = refs(store)[label]
    path = store.backend.root / record_path(ref.kind, ref.key)
    with zarr.storage.ZipStore(path, mode="r") as archive:
        group = zarr.open_group(archive, mode="r", zarr_format=3)
        return group["detector"][:], dict(group["detector"].attrs), dict(group.attrs)


def test_detector_and_history_of_a_fit_are_read_by_plain_zarr(store):
    history = []
    for label in (name for name in refs(store) if "epoch" in name):
        panels, about, root = checkpoint(store, label)
        history.append(root["metrics"]["loss"])
        rows = root["metrics"]["geometry"]
        assert about["panels"] == [row["name"] for row in rows]
        table = [dict(zip(about["columns"], row, strict=True)) for row in panels.tolist()]
        z = next(name for name in about["columns"] if name.startswith("z"))
        assert [row[z] for row in table] == [row["z"] for row in rows]
    assert len(history) == 4
    assert all(isinstance(loss, float) and loss > 0 for loss in history)
    first, last = (checkpoint(store, label)[0] for label in ("coarse epoch 1", "fine epoch 2"))
    assert (first != last).any()
