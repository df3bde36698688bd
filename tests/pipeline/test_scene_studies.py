"""The studies of the other scenes, made small: they run from end to end, and say what they saw."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pipeline.common import counted
from tomopt_tasks.config.load import load_study
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.command import run_plain
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.wrapper.build import build_volume, build_wrapper
from tomopt_tasks.wrapper.checkpoint import set_edges
from tomopt_tasks.wrapper.scans import BankedPassives

STUDIES = Path(__file__).parents[2] / "data" / "studies"
SMALL = [
    ("muons.per_volume", "80"),
    ("fit.phases[0].epochs", "2"),
    ("fit.volumes_per_step", "4"),
    ("scenes.train.volumes", "8"),
    ("scenes.valid.volumes", "4"),
    ("scenes.test.volumes", "6"),
    ("evaluation", "{bootstrap: 100}"),
]


@pytest.fixture(scope="module", params=["lead_in_beryllium", "small_walls", "u_lorry"])
def ran(request, tmp_path_factory):
    """A small version of a study, its store, and what the command said."""
    study = load_study(STUDIES / f"{request.param}.yaml", SMALL)
    store = open_store(tmp_path_factory.mktemp(request.param) / "store")
    return study, store, run_plain(study, store, Request()).answer().lines


def test_who_looks_away_does_not_map_the_walls_better():
    """With the default of one imaginary muon a voxel a detector in the corner errs half as much."""
    study = load_study(STUDIES / "small_walls.yaml")
    scene = study.scenes.train.model_copy(update={"volumes": 8})
    muons = study.muons.model_copy(update={"per_volume": 4000})
    x0, _ = make_scene(study.world, scene, 3, "train")
    state, _ = transport(x0, study.world, muons, study.transport, 3, "train")

    def errors(xy):
        volume = build_volume(study.world, study.detectors["centred"])
        set_edges(volume, hard=True)
        with torch.no_grad():
            for panel in (panel for layer in volume.get_detectors() for panel in layer.panels):
                panel.xy.copy_(torch.tensor(xy))
        wrapper = build_wrapper(volume, study.inference, None, {}, 5, fitting=False)
        found = wrapper.predict(BankedPassives(x0, x0, state), 4000, 4000)
        maps = torch.stack([torch.as_tensor(pred) for pred, _ in found])
        return (1 / maps - 1 / x0).square().mean((1, 2, 3))

    centred, corner = errors((5.0, 5.0)), errors((2.5, 2.5))
    lead = centred - corner
    assert lead.mean() < 3 * lead.std() / len(lead) ** 0.5
    flat = (1 / x0).var((1, 2, 3), correction=0)
    assert centred.mean() < 1.2 * flat.mean()


def dataset(study, store, label):
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    return store.open_dataset(store.find(stage.kind, stage.key))


def test_the_study_runs_and_a_second_run_executes_nothing(ran):
    study, store, said = ran
    assert "optimised" in "\n".join(said)
    with counted() as again, begin(study, store) as run:
        run_all(run)
    assert again == []


def test_the_fit_moves_the_panels(ran):
    study, store, _ = ran
    stages = [stage for stage in plan_study(study) if stage.kind == "checkpoint"]
    first, last = (
        store.find("checkpoint", s.key).metrics["geometry"] for s in stages[:: len(stages) - 1]
    )
    assert all(a["xy"] != b["xy"] and a["z"] != b["z"] for a, b in zip(first, last, strict=True))


def test_what_is_judged_is_the_stored_grid_or_the_stored_number(ran):
    study, store, _ = ran
    found, volumes = dataset(study, store, "fit on test"), dataset(study, store, "test volumes")
    prediction = found.array("prediction")[-1]
    if study.inference.kind != "voxel_x0":
        assert "x0" not in found.names
        assert np.array_equal(found.array("truth"), volumes.array("target"))
        assert ((prediction > 0) & (prediction < 1)).all()
        return
    error = (1 / found.array("x0") - 1 / volumes.array("x0")) ** 2
    assert study.inference.error_of == study.loss.of == "density"
    np.testing.assert_allclose(prediction, error.mean((1, 2, 3)) ** 0.5, rtol=1e-12)
    assert (found.array("truth") == 0).all()
    stage = plan_study(study)[-1]
    judged = store.get_record(store.find("evaluation", stage.key))["designs"]["fit"]
    assert judged["mse"] == pytest.approx(float(error.mean()), rel=1e-9)
