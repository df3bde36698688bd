"""Losses of the user's own: trusted by who starts the command, checked, and part of the key."""

import os

import pytest
from typer.testing import CliRunner

from tests.pipeline.common import TINY, counted
from tomopt_tasks.cli import app
from tomopt_tasks.commands.check import report
from tomopt_tasks.config.load import load_study
from tomopt_tasks.core import UserError
from tomopt_tasks.own import TRUST, build_own, trust
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all

GOOD = """
class MyLoss:
    def __init__(self, power=2.0):
        self.power = power

    def __call__(self, pred, volume):
        return ((pred - volume.target).abs() ** self.power).mean()
"""
LAWS = {
    "NoSlope": "    def __call__(self, pred, volume):\n        return pred.detach().sum()\n",
    "Wrong": "    def __call__(self, pred, volume):\n"
    "        return (pred**2).sum() + (pred - pred.detach()).sum()\n",
    "Random": "    def __call__(self, pred, volume):\n"
    "        import torch\n        return (pred * torch.rand(())).sum()\n",
    "Broken": "    def __call__(self, pred, volume):\n        return volume.nothing\n",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module, which nobody trusts yet."""
    monkeypatch.setenv(TRUST, "")
    classes = [f"class {name}:\n{body}" for name, body in LAWS.items()]
    home = tmp_path / "parts"
    home.mkdir()
    (home / "my_module.py").write_text("\n".join([GOOD, *classes]))
    return home


def study(options=""):
    return load_study(TINY, [("loss", f"{{kind: my_module:MyLoss{options}}}")])


def test_without_trust_nothing_of_it_runs(folder):
    (folder / "my_module.py").write_text("raise RuntimeError('it ran')")
    with pytest.raises(UserError, match="allow it with --trust PATH"):
        study()
    with pytest.raises(UserError, match="is not in a trusted folder"):
        report("my_module:MyLoss", None, [], voxels=False)


def test_a_study_that_names_a_part_can_be_shown_by_who_trusts_it(folder):
    words = ["show", str(TINY), "--set", "loss={kind: my_module:MyLoss}"]
    refused = CliRunner().invoke(app, words)
    assert "allow it with --trust PATH" in str(refused.exception)
    shown = CliRunner().invoke(app, [*words, "--trust", str(folder)])
    assert "my_module:MyLoss" in shown.stdout


def test_planning_imports_nothing(folder):
    (folder / "my_module.py").write_text("raise RuntimeError('it ran')")
    trust([folder])
    assert plan_study(study())


def test_a_fit_follows_it_and_its_source_and_options_are_in_the_key(folder, store):
    trust([folder])
    with counted() as ran, begin(study(), store) as run:
        run_all(run)
    labels = {stage.key: stage.label for stage in plan_study(study())}
    assert "fine epoch 2" in {labels[key] for key in ran}
    before = [stage.key for stage in plan_study(study()) if stage.name == "fit_epoch"]
    other = [s.key for s in plan_study(study(", power: 4.0")) if s.name == "fit_epoch"]
    (folder / "helper.py").write_text("FACTOR = 2\n")
    changed = [stage.key for stage in plan_study(study()) if stage.name == "fit_epoch"]
    assert set(before).isdisjoint(other)
    assert set(before).isdisjoint(changed)


def test_code_that_changes_after_planning_is_refused(folder):
    trust([folder])
    settings = study().loss
    assert build_own(settings).power == 2.0
    (folder / "my_module.py").write_text(GOOD + "\nextra = 1\n")
    with pytest.raises(UserError, match="is not the one that this was planned with"):
        build_own(settings)


def test_options_reach_the_class_and_wrong_ones_end_in_a_sentence(folder):
    trust([folder])
    assert build_own(study(", power: 4").loss).power == 4
    with pytest.raises(UserError, match=r"cannot be made with its options.*unexpected keyword"):
        build_own(study(", powr: 4").loss)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("loss: {kind: absent:MyLoss}", r"loss\.kind: absent:MyLoss is not in a trusted folder"),
        ("transport: {kind: my_module:MyLoss}", r"transport\.kind: .* but only scenes, the inf"),
    ],
)
def test_what_cannot_be_a_part_ends_in_a_sentence(folder, kind, message):
    trust([folder])
    place, _, text = kind.partition(": ")
    with pytest.raises(UserError, match=message):
        load_study(TINY, [(place, text)])


def test_a_folder_that_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match="no such folder"):
        trust([folder / "absent"])
    assert os.environ[TRUST] == ""


def test_check_finds_every_law_kept_by_a_good_loss(folder):
    result = CliRunner().invoke(app, ["check", "my_module:MyLoss", "--trust", str(folder)])
    assert result.exit_code == 0
    assert result.output.count("ok  ") == 5
    grid = CliRunner().invoke(
        app, ["check", "my_module:MyLoss", "--trust", str(folder), "--voxels"]
    )
    assert grid.output.count("ok  ") == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoSlope", "the value does not depend on the prediction"),
        ("Wrong", "1 of 5 laws: its gradient equals finite differences"),
        ("Random", "the same prediction gives the same value"),
        ("Broken", "AttributeError"),
    ],
)
def test_check_names_the_law_that_a_loss_breaks(folder, name, message):
    trust([folder])
    with pytest.raises(UserError, match=message):
        report(f"my_module:{name}", None, [], voxels=False)


@pytest.mark.parametrize("part", ["../x:A", "/etc/x:A", "x", "x:"])
def test_a_part_is_a_module_and_a_class_and_no_path(folder, part):
    trust([folder])
    with pytest.raises(UserError, match="names no class"):
        report(part, None, [], voxels=False)
