"""Studies with tails of scattering and with muons that lose energy and stop run end to end."""

import math

import pytest

from tests.pipeline.common import tiny
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.volume.slowing import OUT_OF_REACH


def stored(store, study, label):
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    return store.find(stage.kind, stage.key)


@pytest.mark.slow
def test_a_fit_sees_tails_and_no_muon_that_stopped(tmp_path):
    study = tiny(
        transport="{kind: table, energy_loss: true}",
        muons__source="{kind: shukla2016, momentum: null}",
    )
    store = open_store(tmp_path / "store")
    with begin(study, store) as run:
        run_all(run)
    last = store.get_record(stored(store, study, "fine epoch 2"))["row"]
    assert math.isfinite(last["loss"])
    errors = store.get_record(stored(store, study, "evaluation"))["designs"]
    assert all(math.isfinite(design["mse"]) for design in errors.values())
    bank = store.open_dataset(stored(store, study, "test bank"))
    moving = bank.array("state")[0, :, :, 4] != OUT_OF_REACH
    assert 0.8 < moving.mean() < 0.98
    found = store.open_dataset(stored(store, study, "baseline_1 on test"))
    aimed, accepted = found.array("aimed"), found.array("accepted")
    assert (aimed == moving.shape[1]).all()  # they count as exposure
    assert (accepted <= moving.sum(1)).all()
    assert accepted.sum() > 0
