"""A network that learns with the detector: in checkpoints, resumed, judged and asked again."""

import numpy as np
import pytest
import torch

from tests.pipeline.common import counted
from tests.pipeline.test_parts import chosen
from tomopt_tasks.inference.learned import DeepVolumeInferrer
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.judging import judge
from tomopt_tasks.runs.predicting import predict_object
from tomopt_tasks.runs.run import PlainStage, Request, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.volume.passives import PassiveYielder
from tomopt_tasks.wrapper.checkpoint import from_checkpoint, restore_volume

DETECTOR = """
version: 1
groups:
  above: {z: [1.35, 1.28], xy: [0.3, 0.3], side: 0.6}
  below: {z: [0.30, 0.20], xy: [0.3, 0.3], side: 0.6}
"""


def study(*more):
    """Lorries, read by a small network."""
    return chosen("learned classes", "volume_class", "u_lorry", *more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store in which the study has run, and the id of the run."""
    store = open_store(tmp_path_factory.mktemp("learned") / "store")
    with begin(study(), store, request=Request("study.yaml")) as run:
        run_all(run)
    return store, run.id


def tree(store, label):
    stage = next(stage for stage in plan_study(study()) if stage.label == label)
    return store.get_record(store.find("checkpoint", stage.key))


def weights(store, label):
    state = tree(store, label)["volume"]
    return {name: value for name, value in state.items() if name.startswith("inference_model.")}


def differ(one, other):
    return [name for name in one if not torch.equal(one[name], other[name])]


def test_each_epoch_trains_the_network_and_its_checkpoint_holds_it(finished):
    store, _ = finished
    labels = ("start of the fit", "fit epoch 1", "fit epoch 2")
    first, second, third = (weights(store, label) for label in labels)
    assert len(first) == 12
    assert differ(first, second)
    assert len(differ(second, third)) == 12


def test_every_other_design_is_read_by_a_network_of_its_own(finished):
    store, _ = finished
    model, fit = tree(store, "model for other"), tree(store, "fit epoch 2")
    assert (
        model["detector"]["layers"]
        == study().model_dump(mode="json")["detectors"]["other"]["layers"]
    )
    still = restore_volume(model).get_detectors()[0].panels[0].requires_grad_(requires_grad=False)
    assert still.xy.tolist() == [0.3, 0.3]
    assert float(still.z) == 1.38
    assert model["fit"]["epoch"] == fit["fit"]["epoch"] == 2
    assert differ(weights(store, "model for other"), weights(store, "fit epoch 2"))
    assert differ(weights(store, "model for other"), weights(store, "start of the fit"))


def test_a_warm_start_takes_the_network_along(finished):
    store, _ = finished
    key = next(s.key for s in plan_study(study()) if s.label == "fit epoch 2")
    warm = study(("fit.warm_start", key))
    with begin(warm, store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit"):
            run.all(PlainStage(name))
    stage = next(s for s in plan_study(warm) if s.label == "start of the fit")
    state = store.get_record(store.find("checkpoint", stage.key))["volume"]
    ended = weights(store, "fit epoch 2")
    assert differ(weights(store, "start of the fit"), ended)
    assert differ(ended, state) == []


def test_a_fit_that_is_extended_ends_with_the_same_bits(finished, tmp_path):
    store, _ = finished
    again = open_store(tmp_path / "store")
    with begin(study(("fit.phases[0].epochs", "1")), again) as run:
        run_all(run)
    with counted() as ran, begin(study(), again) as run:
        run_all(run)
    key = next(s.key for s in plan_study(study()) if s.label == "fit epoch 2")
    assert key in ran
    assert again.find("checkpoint", key).sha256 == store.find("checkpoint", key).sha256


def test_an_object_is_read_with_the_network_of_the_chosen_design(finished, tmp_path):
    store, run = finished
    volumes = next(stage for stage in plan_study(study()) if stage.label == "test volumes")
    x0 = store.open_dataset(store.find("volumes", volumes.key)).array("x0")
    np.savez(tmp_path / "objects.npz", x0=x0)
    answers = [predict_object(store, run, tmp_path / "objects.npz", d) for d in ("fit", "other")]
    assert all(np.isfinite(answer.values).all() for answer in answers)
    assert not np.allclose(answers[0].values, answers[1].values)


def test_a_detector_from_a_file_gets_its_own_network(finished, tmp_path):
    store, run = finished
    file = tmp_path / "mine.yaml"
    file.write_text(DETECTOR)
    judged = judge(store, run, file)
    assert judged.name == "mine"
    assert judged.executed == 4  # the network, two banks, the evaluation


def test_a_notebook_takes_the_network_from_the_checkpoint(finished):
    store, _ = finished
    stage = next(stage for stage in plan_study(study()) if stage.label == "fit epoch 2")
    wrapper = from_checkpoint(store, store.find("checkpoint", stage.key))
    grid = torch.full(study().world.shape, 0.3, dtype=torch.float64)
    found = wrapper.predict(PassiveYielder([(grid, torch.zeros(1))]), 30, 30)
    assert isinstance(wrapper.fit_params.volume_inferrer, DeepVolumeInferrer)
    assert 0 < float(np.ravel(found[0][0])[0]) < 1
