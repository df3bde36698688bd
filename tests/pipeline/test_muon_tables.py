"""A study whose muons come from the user's own tables runs as one that simulates them."""

import shutil

import pytest
from ruamel.yaml import YAML

from tests.pipeline.common import TINY, counted, tiny
from tests.unit.muons.test_table import as_table, write
from tomopt_tasks.config.dump import dump_study
from tomopt_tasks.config.load import load_study
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.scenes import make_scene

FILES = {"train": "train.npz", "valid": "valid.parquet", "test": "test.csv"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The banks of the small study as tables, and the study that reads them."""
    study, folder = tiny(), tmp_path_factory.mktemp("tables")
    for split, name in FILES.items():
        scene = getattr(study.scenes, split)
        x0, _ = make_scene(study.world, scene, study.scenes.seed, split)
        muons = study.muons
        state, _ = transport(x0, study.world, muons, study.transport, muons.seed, split)
        bank = as_table(state, up=0.1, length="mm", momentum="MeV", world=study.world)
        write(bank, folder / name)
    tree = YAML(typ="safe").load(TINY)
    sources = {split: {"file": name} for split, name in FILES.items()}
    tree["muons"] = {
        "source": {"kind": "table", "rate": "160 Hz", **sources},
        "per_volume": 60,
    }
    with (folder / "study.yaml").open("w") as file:
        YAML().dump(tree, file)
    return folder


def metrics(store, study, label):
    """Loss of a checkpoint, or the errors of the evaluation."""
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    found = store.find(stage.kind, stage.key)
    tree = store.get_record(found)
    if "row" in tree:
        return tree["row"]["loss"]
    return {name: design["mse"] for name, design in tree["designs"].items()}


@pytest.mark.slow
def test_tables_give_the_fit_and_the_errors_of_the_muons_that_they_hold(store, folder, tmp_path):
    study, own = load_study(folder / "study.yaml"), open_store(tmp_path / "own")
    with counted() as ran, begin(study, own) as run:
        run_all(run)
    assert len(ran) == len(plan_study(study))
    for label in ("coarse epoch 1", "fine epoch 2"):
        assert metrics(own, study, label) == pytest.approx(metrics(store, tiny(), label), rel=1e-6)
    assert metrics(own, study, "evaluation") == pytest.approx(
        metrics(store, tiny(), "evaluation"), rel=1e-6
    )


def keys(file):
    return {stage.label: stage.key for stage in plan_study(load_study(file))}


def test_a_key_knows_the_digest_of_the_table_of_its_set_and_not_its_name(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    assert keys(moved / "study.yaml") == keys(folder / "study.yaml")
    (moved / "test.csv").write_bytes((folder / "test.csv").read_bytes() + b"\n")
    after, before = keys(moved / "study.yaml"), keys(folder / "study.yaml")
    changed = {label for label in before if before[label] != after[label]}
    assert {"test bank", "fit on test", "evaluation"} <= changed
    assert not {"train bank", "valid bank", "fine epoch 2", "fit on valid"} & changed


def test_a_study_in_full_names_its_tables_and_can_be_read_again(folder, tmp_path):
    study = load_study(folder / "study.yaml")
    again = tmp_path / "full.yaml"
    again.write_text(dump_study(study))
    assert load_study(again) == study


@pytest.mark.parametrize(
    ("place", "text", "says"),
    [
        ("test", "null", r"muons\.source\.test: missing, but the test volumes need muons; add"),
        ("test.file", "no.csv", r"test\.file: .*no\.csv cannot be read: no such file"),
        ("valid.sha256", "f" * 64, r"valid\.sha256: .* not the written one; correct"),
        ("rate", "3 m", r'muons\.source\.rate: got "3 m", which is not a rate; write'),
        ("rate", "0", r"muons\.source\.rate: got 0, but it must be > 0 Hz"),
    ],
)
def test_a_wrong_table_is_refused_where_it_is_written(folder, place, text, says):
    with pytest.raises(UserError, match=says):
        load_study(folder / "study.yaml", [(f"muons.source.{place}", text)])
