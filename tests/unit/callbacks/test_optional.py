import sys

import pytest

from tests.unit.callbacks.toy import Wrapper, fit, passives
from tomopt_tasks.callbacks.cyclic import CyclicCallback
from tomopt_tasks.callbacks.metrics import EvalMetric
from tomopt_tasks.callbacks.monitors import MetricLogger
from tomopt_tasks.callbacks.predictions import Save2HDF5PredHandler
from tomopt_tasks.callbacks.records import ScatterRecord
from tomopt_tasks.callbacks.warmup import WarmupCallback
from tomopt_tasks.core import UserError


def test_a_missing_library_is_named_with_its_cure(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    handler = Save2HDF5PredHandler(tmp_path / "p.h5", use_volume_target=True)
    with pytest.raises(UserError, match=r"needs h5py, .* run `pip install h5py`"):
        Wrapper().predict(passives(1.0), 10, 5, handler)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        ScatterRecord().get_record(as_df=True)


def test_records_work_without_a_library_for_tables(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert ScatterRecord().get_record().shape == (0, 3)


def test_callbacks_are_told_apart_by_their_kind(tmp_path):
    cycle, warmup, metric = CyclicCallback(), WarmupCallback(1), EvalMetric(True)
    first, second = (MetricLogger(report=lambda line: None) for _ in range(2))
    wrapper = fit([cycle, warmup, metric, first, second], tmp_path, n_epochs=2)
    found = wrapper.fit_params
    assert (found.cyclic_cbs, found.warmup_cbs) == ([cycle], [warmup])
    assert (found.metric_cbs, found.metric_log) == ([metric], first)
