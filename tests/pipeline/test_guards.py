"""Guards of a phase end a fit in the pipeline, and a checkpoint comes back as a wrapper."""

import pytest
import torch

from tests.pipeline.common import changed, counted
from tomopt_tasks.callbacks.stopping import DivergenceGuard, EarlyStopping
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.wrapper.checkpoint import from_checkpoint
from tomopt_tasks.wrapper.guard_settings import (
    DivergenceGuardSettings,
    EarlyStoppingSettings,
    Guards,
)
from tomopt_tasks.wrapper.guards import build_judges


def epochs(study):
    return [stage for stage in plan_study(study) if stage.name == "fit_epoch"]


def test_guards_are_off_unless_they_are_written_down():
    assert build_judges((), Guards(), ()) == []


def test_guards_take_their_numbers_from_the_settings():
    guards = Guards(
        early=EarlyStoppingSettings(patience=7, min_change=0.5),
        divergence=DivergenceGuardSettings(factor=3.0, patience=2, max_rise=4.0),
    )
    guard, early = build_judges((), guards, ())
    assert isinstance(guard, DivergenceGuard)
    assert (guard.factor, guard.patience, guard.max_rise) == (3.0, 2, 4.0)
    assert isinstance(early, EarlyStopping)
    assert (early.patience, early.min_change) == (7, 0.5)


def test_a_fit_that_does_not_improve_stops_and_predicts_from_its_last_checkpoint(store):
    study = changed(
        ("fit.phases[1].guards", "{early: {patience: 1, min_change: 1000.0}}"),
        ("fit.phases[1].epochs", "5"),
    )
    with counted() as ran, begin(study, store) as run:
        run_all(run)
    fine = [stage for stage in epochs(study) if stage.label.startswith("fine")]
    labels = [stage.label for stage in fine if stage.key in ran]
    # the first epoch improves on nothing, the second does not improve on it by 1000
    assert labels == ["fine epoch 1", "fine epoch 2"]
    last = store.find("checkpoint", fine[1].key)
    assert last.metrics["stopped"]
    predicted = next(stage for stage in plan_study(study) if stage.label == "fit on test")
    assert store.find("predictions", predicted.key) is not None


def test_a_phase_has_guards_of_its_own():
    study = changed(("fit.phases[0].guards", "{early: {patience: 2}}"))
    first, second = (phase.guards.early for phase in study.fit.phases)
    assert first.patience == 2
    assert second is None


def test_a_checkpoint_comes_back_as_a_wrapper_with_its_detector(store):
    study = changed()
    wrapper = from_checkpoint(store, store.find("checkpoint", epochs(study)[-1].key))
    predicted = next(stage for stage in plan_study(study) if stage.label == "fit on test")
    judged = store.open_dataset(store.find("predictions", predicted.key)).attrs["geometry"]
    panels = [panel for layer in wrapper.get_detectors() for panel in layer.panels]
    found = [(panel.z.item(), panel.get_scaled_xy_span().tolist()) for panel in panels]
    assert found == [(row["z"], row["span"]) for row in judged]


def test_a_wrapper_from_a_checkpoint_predicts_with_muons_of_its_own(store):
    study = changed()
    wrapper = from_checkpoint(store, store.find("checkpoint", epochs(study)[-1].key), seed=4)
    x0, target = make_scene(study.world, study.scenes.train, 1, "train")
    passives = list(zip(x0[:2], target[:2, None], strict=True))
    predictions = wrapper.predict(passives, 300, 300)
    levels = torch.tensor([float(pair[0].item()) for pair in predictions])
    assert ((levels > 0.4) & (levels < 1.4)).all()


def test_what_is_no_checkpoint_is_refused(store):
    volumes = plan_study(changed())[0]
    with pytest.raises(UserError, match="got nothing; give the ref of a checkpoint"):
        from_checkpoint(store, None)
    with pytest.raises(UserError, match="of kind volumes"):
        from_checkpoint(store, store.find("volumes", volumes.key))
