import inspect

import numpy as np
import pytest
import torch

from tests.unit.callbacks.toy import Wrapper, fit, passives
from tomopt_tasks.callbacks.predictions import (
    PredHandler,
    Save2HDF5PredHandler,
    VolumeTargetPredHandler,
)
from tomopt_tasks.core import UserError


def predict(handler, *targets, wrapper=None):
    return (wrapper or Wrapper()).predict(passives(*targets), 10, 5, handler)


def test_predictions_come_with_the_x0_of_every_voxel_in_order():
    preds = predict(PredHandler(), 1.0, 2.0)
    assert len(preds) == 2
    pred, truth = preds[1]
    assert isinstance(pred, np.ndarray)
    assert truth.shape == (2, 3, 3)
    assert (truth == 2.0).all()
    assert pred - 1.0 == pytest.approx(preds[0][0], abs=1e-12)


def test_a_new_prediction_forgets_the_one_before():
    handler = PredHandler()
    predict(handler, 1.0, 2.0)
    assert len(predict(handler, 3.0)) == 1


def test_a_fit_adds_nothing_to_a_handler(tmp_path):
    handler = PredHandler()
    fit([handler], tmp_path, valid=(1.0,))
    assert handler.get_preds() == []


def test_d31_default_handlers_are_not_shared_and_no_default_is_mutable():
    """D-31: one PredHandler served all calls of predict of a process."""
    assert inspect.signature(Wrapper.predict).parameters["pred_cb"].default is None
    wrapper = Wrapper()
    first = wrapper.predict(passives(1.0), 10, 5)
    second = wrapper.predict(passives(2.0, 3.0), 10, 5)
    assert (len(first), len(second)) == (1, 2)
    for kind in (PredHandler, VolumeTargetPredHandler, Save2HDF5PredHandler):
        for parameter in inspect.signature(kind).parameters.values():
            assert not isinstance(parameter.default, list | dict | set)


def test_a_volume_without_a_prediction_counts_as_nan():
    preds = predict(PredHandler(), 1.0, -1.0)
    assert np.isnan(preds[1][0]).all()
    assert np.isfinite(preds[0][0]).all()


def test_targets_can_be_mapped_to_classes():
    assert predict(VolumeTargetPredHandler(), 3.0)[0][1] == pytest.approx([3.0])
    preds = predict(VolumeTargetPredHandler({0.9: 4, 2.8: 7}), 1.0, 3.0)
    assert [float(truth[0]) for _, truth in preds] == [4.0, 7.0]


def test_hdf5_file_holds_one_row_a_volume(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "preds.h5"
    assert predict(Save2HDF5PredHandler(path, use_volume_target=True), 1.0, -1.0, 3.0) == []
    with h5py.File(path) as file:
        assert file["targs"].dtype == np.float32
        assert file["targs"][:, 0].tolist() == [1.0, -1.0, 3.0]
        assert np.isnan(file["preds"][:, 0]).tolist() == [False, True, False]
        assert file["preds"].compression == "lzf"


def test_hdf5_file_grows_unless_it_is_overwritten(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "preds.h5"
    predict(Save2HDF5PredHandler(path, use_volume_target=True), 1.0)
    predict(Save2HDF5PredHandler(path, use_volume_target=True), 2.0)
    with h5py.File(path) as file:
        assert len(file["preds"]) == 2
    predict(Save2HDF5PredHandler(path, use_volume_target=False, overwrite=True), 2.0)
    with h5py.File(path) as file:
        assert file["targs"].shape == (1, 2, 3, 3)


def test_hdf5_rows_of_another_shape_are_refused(tmp_path):
    pytest.importorskip("h5py")
    path = tmp_path / "preds.h5"
    predict(Save2HDF5PredHandler(path, use_volume_target=True), 1.0)
    with pytest.raises(UserError, match="another file"):
        predict(Save2HDF5PredHandler(path, use_volume_target=False), 1.0)


def test_hdf5_classes_need_volume_targets(tmp_path):
    with pytest.raises(UserError, match="use_volume_target=True"):
        Save2HDF5PredHandler(tmp_path / "p.h5", use_volume_target=False, x02id={1.0: 1})


def test_predictions_do_not_hold_the_graph():
    wrapper = Wrapper()
    handler = PredHandler()
    predict(handler, 1.0, wrapper=wrapper)
    assert not any(t.requires_grad for pair in handler.preds for t in pair)
    assert isinstance(handler.preds[0][0], torch.Tensor)
