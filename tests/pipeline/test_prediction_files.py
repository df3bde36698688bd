"""Predictions in HDF5: those of a handler in a notebook, and whole objects by export."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch

from tests.pipeline.common import TINY, changed, counted, flip_bit
from tests.pipeline.test_parts import chosen
from tomopt_tasks.callbacks.predictions import Save2HDF5PredHandler
from tomopt_tasks.commands.export import export
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.command import result
from tomopt_tasks.runs.outputs import write_report
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.stages import states_of
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.build import build_wrapper
from tomopt_tasks.wrapper.checkpoint import result_volume, set_edges
from tomopt_tasks.wrapper.scans import BankedPassives

h5py = pytest.importorskip("h5py")


def asked(more=""):
    return ("report.files", f"[{{kind: hdf5_predictions{more}}}]")


def run_of(study, store):
    with begin(study, store, request=Request(str(TINY))) as run:
        run_all(run)
    return run.id


def of_notebook(study, store, path, *, target):
    """The file of a handler that predicts the test volumes with the fitted detector."""
    stages = {stage.label: stage for stage in plan_study(study)}
    epochs = [stage for stage in stages.values() if stage.name == "fit_epoch"]
    volume = result_volume(store.get_record(store.find("checkpoint", epochs[-1].key)))
    set_edges(volume, hard=True)
    volumes, bank = (
        store.open_dataset(store.find(kind, stages[f"test {kind}"].key))
        for kind in ("volumes", "bank")
    )
    x0, truth = (torch.from_numpy(volumes.array(name)) for name in ("x0", "target"))
    passives = BankedPassives(x0, truth, states_of(bank))
    wrapper = build_wrapper(volume, study.inference, None, {}, study.evaluation.seed, fitting=False)
    n_muons = study.muons.per_volume
    handler = Save2HDF5PredHandler(path, use_volume_target=target)
    wrapper.predict(passives, n_muons, n_muons, pred_cb=handler)


def same(one, other):
    with h5py.File(one) as mine, h5py.File(other) as theirs:
        assert set(mine) == set(theirs) == {"preds", "targs"}
        for name in mine:
            for about in ("shape", "maxshape", "dtype", "chunks", "compression"):
                assert getattr(mine[name], about) == getattr(theirs[name], about), (name, about)
            np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.fixture
def store(finished, tmp_path):
    return open_store(shutil.copytree(finished[0], tmp_path / "store"))


@pytest.mark.parametrize("truth", ["", "target", "x0"])
def test_the_file_of_a_design_is_that_of_a_handler(store, tmp_path, truth):
    study = changed(asked(f", truth: {truth}" if truth else ""))
    with counted() as bodies:
        run = run_of(study, store)
    assert bodies == []
    outputs = write_report(store, run)
    assert list(outputs.predictions) == ["start", "fit", "baseline_1"]
    of_notebook(study, store, tmp_path / "handler.h5", target=truth != "x0")
    same(outputs.predictions["fit"], tmp_path / "handler.h5")
    said = result(outputs)
    assert f"file      {outputs.predictions['fit']}" in said.lines
    assert len(said.data["files"]) == 3


def test_maps_of_voxels_stand_beside_their_radiation_lengths(tmp_path):
    study = chosen("voxel_x0", "voxel_x0", "small_walls", asked(", compression: gzip"),
                   ("compare", "[fit]"))  # fmt: skip
    store = open_store(tmp_path / "store")
    outputs = write_report(store, run_of(study, store))
    of_notebook(study, store, tmp_path / "handler.h5", target=False)
    with h5py.File(outputs.predictions["fit"]) as mine, h5py.File(tmp_path / "handler.h5") as his:
        assert mine["preds"].compression == "gzip"
        for name in ("preds", "targs"):
            np.testing.assert_array_equal(mine[name], his[name])


def test_a_damaged_file_is_written_again_and_one_that_is_not_asked_for_goes(store):
    study = changed(asked())
    outputs = write_report(store, run_of(study, store))
    file = outputs.predictions["fit"]
    before = file.read_bytes()
    flip_bit(file)
    write_report(store, run_of(study, store), again=False)
    assert file.read_bytes() == before
    write_report(store, run_of(changed(), store))
    assert not list(file.parent.glob("*.h5"))


def test_without_h5py_a_run_is_refused_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    store = open_store(tmp_path / "store")
    with pytest.raises(UserError, match=r"report\.files: hdf5_predictions needs h5py.*pip install"):
        run_of(changed(asked()), store)
    assert store.runs() == []


def test_an_object_is_exported_whole_with_units_and_axes(store, tmp_path):
    export(store, "tiny:test volumes", tmp_path / "volumes.h5")
    stage = next(stage for stage in plan_study(changed()) if stage.label == "test volumes")
    dataset = store.open_dataset(store.find("volumes", stage.key))
    with h5py.File(tmp_path / "volumes.h5") as file:
        assert set(file) == set(dataset.names)
        np.testing.assert_array_equal(file["x0"], dataset.array("x0"))
        assert file["x0"].attrs["units"] == "m"
        assert [dim.label for dim in file["x0"].dims] == ["volume", "z", "x", "y"]
    export(store, "tiny:test bank", tmp_path / "bank.h5")
    with h5py.File(tmp_path / "bank.h5") as file:
        assert json.loads(file["state"].attrs["columns"])[0] == "x_in"
    export(store, "tiny:evaluation", tmp_path / "designs.h5")
    with h5py.File(tmp_path / "designs.h5") as file:
        assert [name.decode() for name in file["design"]] == ["start", "fit", "baseline_1"]
