"""Scenes, inferrers and callbacks of the user's own run in a study, and are part of its keys."""

import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.pipeline.common import TINY, counted
from tomopt_tasks.cli import app
from tomopt_tasks.config.dump import dump_study
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.schema import json_schema
from tomopt_tasks.core import UserError
from tomopt_tasks.own import TRUST, trust
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

MODULE = """
import torch
from tomopt_tasks import AbsPassiveGenerator, AbsVolumeInferrer, Callback

class Plates:
    "A plate of lead at a random height in air; its height is the target."
    def __init__(self, x0=0.0056):
        self.x0 = x0
    def __call__(self, world, rng):
        grid = torch.full(world.shape, 300.0, dtype=torch.float64)
        layer = int(torch.randint(2, 8, (), generator=rng))
        grid[layer] = self.x0
        return grid, world.passive[0] + (layer + 0.5) * world.voxel

class Generated(AbsPassiveGenerator):
    def _generate(self):
        return self._layout(torch.full(self.shape, self._pick_x0())), self._target(1.0)

class Flat:
    def __call__(self, world, rng):
        return torch.ones(world.shape)

class Small:
    def __call__(self, world, rng):
        return torch.ones(2, 2, 2), 1.0

class Negative:
    def __call__(self, world, rng):
        return torch.zeros(world.shape), 1.0

class Deaf:
    def __call__(self, world):
        return torch.ones(world.shape), 1.0

class MeanHeight(AbsVolumeInferrer):
    "Mean height of the points of closest approach, weighted with the acceptance."
    def __init__(self, volume, offset=0.0):
        super().__init__(volume)
        self.offset = offset
    def get_predictions(self):
        keep = self.merged(lambda b: b.valid).view(self.n_volumes, -1)
        z = self.merged(lambda b: b.poca.xyz)[:, 2].view(self.n_volumes, -1)
        w = self.merged(self.compute_efficiency).view(self.n_volumes, -1) * keep
        z = torch.where(keep, z, torch.zeros_like(z))
        means = (w * z).sum(1) / w.sum(1).clamp_min(1e-12) + self.offset
        return [m.reshape(1) if bool(k.any()) else None for m, k in zip(means, keep)]

class HalfSteps(Callback):
    "Makes every gradient smaller by a factor, and counts."
    remembers = ("n_updates",)
    def __init__(self, factor=0.5):
        self.factor, self.n_updates = factor, 0
    def on_backwards_end(self):
        self.n_updates += 1
        for p in self.attached.volume.parameters():
            if p.grad is not None:
                p.grad.mul_(self.factor)
"""

SCENE = ("scenes.train", "{kind: my_parts:Plates, volumes: 4, x0: 0.01}")
OTHERS = [("scenes.valid", "{like: train}"), ("scenes.test", "{like: train, volumes: 3}")]
INFER = ("inference", "{kind: my_parts:MeanHeight, offset: 0.25, acceptance: all_panels}")
LOSS = ("loss", "{kind: volume_mse}")
CALLBACK = ("fit.callbacks", "[{kind: my_parts:HalfSteps, first: true}]")
ALL = [SCENE, *OTHERS, INFER, LOSS, CALLBACK]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, "")
    home = tmp_path / "parts"
    home.mkdir()
    (home / "my_parts.py").write_text(MODULE)
    trust([home])
    return home


def stored(study, store, label):
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    return store.find(stage.kind, stage.key)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Store and folder of a study of own parts that the command has run, trusted by its option."""
    home = tmp_path_factory.mktemp("finished")
    (home / "my_parts.py").write_text(MODULE)
    words = ["run", str(TINY), "--runner", "plain", "--store", str(home / "store")]
    words += [word for place, text in ALL for word in ("--set", f"{place}={text}")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(TRUST, "")
        result = CliRunner().invoke(app, [*words, "--trust", str(home)])
    assert result.exit_code == 0, result.exception
    return home


def test_a_study_of_own_parts_runs_to_its_evaluation_and_again_from_the_cache(
    finished, monkeypatch
):
    monkeypatch.setenv(TRUST, "")
    trust([finished])
    study, store = load_study(TINY, ALL), open_store(finished / "store")
    volumes = store.open_dataset(stored(study, store, "train volumes"))
    x0, target = volumes.array("x0"), volumes.array("target")
    layers = [int((grid == 0.01).all((1, 2)).nonzero()[0][0]) for grid in x0]
    assert target == pytest.approx([0.4 + 0.1 * (layer + 0.5) for layer in layers])
    assert len(set(layers)) > 1
    found = store.open_dataset(stored(study, store, "start on test")).array("prediction")[-1]
    assert ((found > 0.6) & (found < 1.7)).all()  # heights with the offset
    tree = store.get_record(stored(study, store, "coarse epoch 2"))
    assert {"n_updates": 3} in tree["callbacks"]  # one of the search, two of the fit
    with counted() as again, begin(study, store) as run:
        run_all(run)
    assert again == []


def test_an_object_is_predicted_with_an_own_inferrer_by_who_trusts_it(finished, monkeypatch):
    monkeypatch.setenv(TRUST, "")
    x0 = np.full((10, 10, 10), 300.0)
    x0[5] = 0.01
    np.savez(finished / "object.npz", x0=x0)
    words = ["predict", str(finished / "object.npz"), "--with", "tiny", "--design", "start"]
    words += ["--store", str(finished / "store")]
    refused = CliRunner().invoke(app, words)
    assert "my_parts:MeanHeight is not in a trusted folder" in str(refused.exception)
    shown = CliRunner().invoke(app, [*words, "--trust", str(finished)])
    assert shown.exit_code == 0, shown.exception
    assert "object 0: prediction" in shown.stdout


@pytest.mark.parametrize(
    ("place", "text", "first"),
    [
        ("scenes.train", "{kind: my_parts:Plates, volumes: 4, x0: 0.02}", "make_volumes"),
        ("inference", "{kind: my_parts:MeanHeight, offset: 0.5}", "fit_epoch"),
        ("fit.callbacks", "[{kind: my_parts:HalfSteps, factor: 0.25}]", "fit_epoch"),
    ],
)
def test_an_option_is_in_the_key_of_the_stages_that_use_it(folder, place, text, first):
    before = {s.label: s.key for s in plan_study(load_study(TINY, ALL))}
    after = {s.label: s.key for s in plan_study(load_study(TINY, [*ALL, (place, text)]))}
    changed = [
        s.name for s in plan_study(load_study(TINY, ALL)) if before[s.label] != after[s.label]
    ]
    assert changed[0] == first
    assert ("transport_muons" in changed) == (first == "make_volumes")


def test_a_generator_of_the_notebook_interface_is_a_scene(folder):
    from tomopt_tasks.volume.scenes import make_scene  # noqa: PLC0415

    text = "{kind: my_parts:Generated, volumes: 12, materials: [lead, iron]}"
    study = load_study(TINY, [*ALL, ("scenes.train", text)])
    x0, target = make_scene(study.world, study.scenes.train, 1, "train")
    again, _ = make_scene(study.world, study.scenes.train, 1, "train")
    assert torch.equal(x0, again)
    assert sorted(set(x0.flatten().tolist())) == pytest.approx([0.005612, 0.01757], rel=0.01)
    assert target.tolist() == [1.0] * 12


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("Flat", "the target is None, but it must be one finite number"),
        ("Small", r"of the shape \(2, 2, 2\), but the world has \(10, 10, 10\)"),
        ("Negative", "must be > 0 m"),
        ("Deaf", "cannot be called with world and rng"),
        ("Plates, y0: 1", "cannot be made with its options"),
        ("HalfSteps", "cannot be called|is not callable"),
    ],
)
def test_a_scene_that_gives_no_objects_ends_in_a_sentence(folder, part, message):
    from tomopt_tasks.volume.scenes import make_scene  # noqa: PLC0415

    study = load_study(TINY, [*ALL, ("scenes.train", f"{{kind: my_parts:{part}, volumes: 4}}")])
    with pytest.raises(UserError, match=message):
        make_scene(study.world, study.scenes.train, 1, "train")


def test_a_scene_without_a_number_is_for_voxels_only(folder):
    scene = ("scenes.train", "{kind: my_parts:Flat, target: voxels}")
    with pytest.raises(UserError, match=r"scenes\.train\.kind: .* no one number per volume"):
        load_study(TINY, [*ALL, scene])
    voxels = [("inference", "{kind: voxel_x0}"), ("loss", "{kind: voxel_x0}")]
    assert load_study(TINY, [*ALL, scene, *voxels]).scenes.train.n_volumes == 40


@pytest.mark.parametrize(
    ("part", "message"), [("MeanHeight", "cannot be made"), ("Plates", "is no callback")]
)
def test_a_callback_that_is_none_ends_in_a_sentence(folder, part, message, tmp_path):
    study = load_study(TINY, [("fit.callbacks", f"[{{kind: my_parts:{part}}}]")])
    with pytest.raises(UserError, match=message), begin(study, open_store(tmp_path / "s")) as run:
        run_all(run)


def test_an_own_inferrer_says_what_it_predicts_and_losses_must_fit(folder):
    wrong = [*ALL, ("loss", "{kind: voxel_x0}")]
    with pytest.raises(UserError, match=r"cannot judge inference\.kind own; write volume_mse"):
        load_study(TINY, wrong)
    voxels = ("inference", "{kind: my_parts:MeanHeight, predicts: voxels}")
    study = load_study(TINY, [*wrong, voxels])
    assert study.evaluation.correction == "none"


def test_a_shown_study_can_be_loaded_again(folder, tmp_path):
    study = load_study(TINY, ALL)
    (tmp_path / "shown.yaml").write_text(dump_study(study))
    assert load_study(tmp_path / "shown.yaml") == study


def test_the_schema_allows_own_parts_where_they_may_stand():
    definitions = json_schema()["$defs"]
    for name in ("OwnLossSettings", "OwnSceneSettings", "OwnInferenceSettings"):
        kind = definitions[name]["properties"]["kind"]
        assert re.fullmatch(kind["anyOf"][1]["pattern"], "my_module:MyPart")
        assert not re.fullmatch(kind["anyOf"][1]["pattern"], "voxel_x0")
        assert definitions[name]["additionalProperties"] is True
