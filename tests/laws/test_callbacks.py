"""Laws of callbacks: equal fits are equal, and those that only look change nothing."""

import pytest
import torch

from tests.laws.parts import members
from tests.unit.callbacks.test_state import MAKERS, wrapper_for
from tests.unit.callbacks.toy import fit, parameters
from tomopt_tasks.callbacks.base import HOOKS, Callback

LOOKING = {
    "CalibratedRMSE", "EvalMetric", "MetricLogger", "PanelMetricLogger", "GradientRecord",
    "PredHandler",
    "VolumeTargetPredHandler", "Save2HDF5PredHandler", "HitRecord", "ScatterRecord", "HeatMapGif",
    "NoMoreNaNs", "DivergenceGuard", "EarlyStopping",
}  # fmt: skip
"""Leave a healthy fit of three epochs as it is."""
ELSEWHERE = {
    "BatchLoss", "ExpectedMSELoss", "SpreadRangeLoss", "MuonResampler", "EpochSave", "History",
    "CyclicCallback", "PostWarmupCallback", "AbsOptSchedule",
}  # fmt: skip
"""Tried with a real detector in ``tests/unit/callbacks/test_real_fit.py``, or abstract."""


def fitted(name, path, with_callback=True):
    wrapper = wrapper_for(name)
    fit([MAKERS[name]()] if with_callback else [], path, n_epochs=3, wrapper=wrapper)
    return parameters(wrapper)


def test_every_callback_is_tried():
    final = members(Callback, "tomopt_tasks.callbacks")
    assert final - ELSEWHERE <= set(MAKERS)
    assert set(MAKERS) >= LOOKING


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"HeatMapGif"}))
def test_equal_fits_with_a_callback_are_equal_and_finite(name, tmp_path):
    one, two = fitted(name, tmp_path), fitted(name, tmp_path)
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert all(torch.isfinite(value).all() for value in one.values())


@pytest.mark.parametrize("name", sorted(LOOKING))
def test_callbacks_that_look_leave_the_fit_alone(name, tmp_path):
    seen, alone = fitted(name, tmp_path), fitted(name, tmp_path, with_callback=False)
    assert all(torch.equal(seen[key], alone[key]) for key in seen)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_callbacks_have_no_hook_that_the_loop_does_not_fire(name):
    hooks = {attribute for attribute in dir(MAKERS[name]()) if attribute.startswith("on_")}
    assert hooks == set(HOOKS)
