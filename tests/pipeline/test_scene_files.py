"""A study whose objects come from the user's own files runs as one that draws them."""

import shutil

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.pipeline.common import TINY, counted, tiny
from tomopt_tasks.config.dump import dump_study
from tomopt_tasks.config.load import load_study
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.volume.scenes import make_scene


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The objects of the small study as files, and the study that reads them."""
    study, folder = tiny(), tmp_path_factory.mktemp("objects")
    tree = YAML(typ="safe").load(TINY)
    for split in ("train", "valid", "test"):
        x0, target = make_scene(study.world, getattr(study.scenes, split), study.seed, split)
        np.savez(folder / f"{split}.npz", x0=x0.numpy(), target=target.numpy())
        tree["scenes"][split] = {"kind": "file", "file": f"{split}.npz"}
    with (folder / "study.yaml").open("w") as file:
        YAML().dump(tree, file)
    return folder


def stored(store, study, label):
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    return store.find(stage.kind, stage.key)


@pytest.mark.slow
def test_own_objects_give_the_fit_and_the_errors_of_the_same_drawn_ones(store, folder, tmp_path):
    study, own = load_study(folder / "study.yaml"), open_store(tmp_path / "own")
    with counted() as ran, begin(study, own) as run:
        run_all(run)
    assert len(ran) == len(plan_study(study))
    for label in ("coarse epoch 1", "fine epoch 2"):
        mine = own.get_record(stored(own, study, label))["row"]
        assert mine["loss"] == store.get_record(stored(store, tiny(), label))["row"]["loss"]
    mine = own.get_record(stored(own, study, "evaluation"))["designs"]
    assert mine == store.get_record(stored(store, tiny(), "evaluation"))["designs"]
    attrs = own.open_dataset(stored(own, study, "train volumes")).attrs
    assert str(folder) not in str(attrs)  # keyed bytes do not know where the file lay
    assert attrs["scene"]["sha256"] == study.scenes.train.sha256


def keys(file, changes=()):
    return {stage.label: stage.key for stage in plan_study(load_study(file, changes))}


def test_a_key_knows_the_digest_of_the_objects_of_its_set_and_not_their_name(folder, tmp_path):
    before = keys(folder / "study.yaml")
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert keys(moved / "study.yaml") == before
    arrays = dict(np.load(folder / "test.npz"))
    arrays["x0"][0, 5, 5, 5] *= 1.01
    np.savez(moved / "test.npz", **arrays)
    after = keys(moved / "study.yaml")
    changed = {label for label in before if before[label] != after[label]}
    assert {"test volumes", "test bank", "fit on test", "evaluation"} <= changed
    assert not {"train volumes", "train bank", "fine epoch 2", "fit on valid"} & changed


def test_some_volumes_of_a_file_can_be_taken(folder):
    study = load_study(
        folder / "study.yaml", [("scenes.test.first", "1"), ("scenes.test.volumes", "3")]
    )
    scene = study.scenes.test
    x0, target = make_scene(study.world, scene, 1, "test")
    arrays = np.load(folder / "test.npz")
    assert scene.n_volumes == len(x0) == 3
    assert np.array_equal(x0.numpy(), arrays["x0"][1:4])
    assert np.array_equal(target.numpy(), arrays["target"][1:4])


def test_a_study_in_full_names_its_objects_and_can_be_read_again(folder, tmp_path):
    study = load_study(folder / "study.yaml")
    again = tmp_path / "full.yaml"
    again.write_text(dump_study(study))
    assert load_study(again) == study
    assert study.scenes.train.n_volumes == 4
    assert study.scenes.train.target == "number"


def test_objects_that_changed_after_the_study_was_read_are_refused(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    study = load_study(moved / "study.yaml")
    np.savez(moved / "test.npz", x0=np.ones(study.world.shape))
    with pytest.raises(UserError, match="has changed since this was planned; run the study again"):
        make_scene(study.world, study.scenes.test, 1, "test")
    (moved / "test.npz").unlink()
    with pytest.raises(UserError, match="no such file"):
        make_scene(study.world, study.scenes.test, 1, "test")


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        ("test.file", "no.npz", r"scenes\.test\.file: .*no\.npz cannot be read: no such file"),
        ("valid.sha256", "f" * 64, r"valid\.sha256: .* not the written one; correct"),
        ("test.first", "6", r"holds 6 volumes, but 1 or more from number 6 on are asked for"),
        ("test.volumes", "7", r"holds 6 volumes, but 7 or more from number 0 on are asked for"),
        ("test.volumes", "0", r"scenes\.test\.volumes: got 0, but it must be >= 1"),
        ("test.target", "voxels", r"test\.kind: got \"file\", which has no one number per volume"),
        ("train", "{kind: file}", r"scenes\.train\.file: missing, but it is needed; add it"),
    ],
)
def test_a_wrong_file_is_refused_where_it_is_written(folder, place, text, says):
    with pytest.raises(UserError, match=says):
        load_study(folder / "study.yaml", [(f"scenes.{place}", text)])


def test_objects_of_another_world_are_refused_where_they_are_written(folder):
    changes = [("world.voxel", "20 cm")]
    with pytest.raises(UserError, match=r"scenes\.train\.file: .* but the world has \(5, 5, 5\)"):
        load_study(folder / "study.yaml", changes)
    np.savez(folder / "plain.npz", x0=np.ones((10, 10, 10)))
    plain = [("scenes.test", "{kind: file, file: plain.npz, target: number}")]
    with pytest.raises(UserError, match="has no target, one number for each volume; add it or"):
        load_study(folder / "study.yaml", plain)
