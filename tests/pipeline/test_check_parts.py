"""``tomopt check`` tries the laws of every family, and names what a part breaks."""

import pytest
import torch
from typer.testing import CliRunner

from tests.pipeline.common import TINY
from tests.pipeline.test_own_families import MODULE
from tomopt_tasks.cli import app
from tomopt_tasks.commands.check import check, family_of, report
from tomopt_tasks.core import UserError
from tomopt_tasks.own import TRUST, trust

BAD = """
from tomopt_tasks import EvalMetric

class Common:
    "Draws from the random numbers of everybody."
    def __call__(self, world, rng):
        return torch.full(world.shape, 0.1 + float(torch.rand(()))), 1.0

class Growing:
    "Remembers the objects before."
    seen = [0.0]
    def __call__(self, world, rng):
        self.seen[0] += 0.1
        return torch.full(world.shape, 1.0 + self.seen[0]), 1.0

class Blind(MeanHeight):
    "No gradient."
    def get_predictions(self):
        return [m.detach() for m in super().get_predictions()]

class Crooked(MeanHeight):
    "A wrong gradient."
    def get_predictions(self):
        return [m + (m - m.detach()) for m in super().get_predictions()]

class Gossip(MeanHeight):
    "Volumes that know each other."
    def get_predictions(self):
        found = super().get_predictions()
        return [m + 0.01 * len(found) for m in found]

class Many(MeanHeight):
    def get_predictions(self):
        return [torch.cat([m, m]) for m in super().get_predictions()]

class Voxels(AbsVolumeInferrer):
    "Radiation lengths that grow with the mean height."
    def get_predictions(self):
        z = self.merged(lambda b: b.poca.xyz)[:, 2].view(self.n_volumes, -1).mean(1)
        return [m * torch.ones(self.shp_zxy, dtype=m.dtype) for m in z]

class Forgetful(HalfSteps):
    "Steps that depend on a count which is not in the checkpoint."
    remembers = ()
    def on_backwards_end(self):
        super().on_backwards_end()
        for p in self.attached.volume.parameters():
            if p.grad is not None:
                p.grad.mul_(1.0 / self.n_updates)

class Strange(HalfSteps):
    def on_train_begin(self):
        self.n_updates = {1, 2}
    def on_backwards_end(self):
        pass

class Watched(EvalMetric):
    "Mean prediction of the validation volumes."
    def __init__(self):
        super().__init__(lower_metric_better=True)
        self.seen = []
    def on_x0_pred_end(self):
        if self.fit_params.state == "valid":
            self.seen.append(float(self.fit_params.pred))
    def on_epoch_end(self):
        if self.seen:
            self.metric = sum(self.seen) / len(self.seen)
        self.seen = []

class Unset(EvalMetric):
    def __init__(self):
        super().__init__(lower_metric_better=True)

class Moving(Watched):
    "Looks with its hands."
    def on_backwards_end(self):
        panel = self.attached.get_detectors()[0].panels[0]
        panel.z.grad = None if panel.z.grad is None else 0.5 * panel.z.grad

class AllAlong(EvalMetric):
    "The mean of all training predictions so far; what it has seen is not in the checkpoint."
    def __init__(self):
        super().__init__(lower_metric_better=True)
        self.seen = []
    def on_x0_pred_end(self):
        self.seen.append(float(self.fit_params.pred.detach()))
        self.metric = sum(self.seen) / len(self.seen)

class EachEpoch(AllAlong):
    "The same of each epoch, so that only an interruption within one is forgotten."
    def on_epoch_begin(self):
        if self.fit_params.state == "train":
            self.seen = []

class Explodes(Callback):
    def on_backwards_end(self):
        raise KeyError("no such thing")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, "")
    (tmp_path / "my_parts.py").write_text(MODULE + BAD)
    trust([tmp_path])
    return tmp_path


def broken(name, family=None, options=(), *, voxels=False):
    found = check(f"my_parts:{name}", family, options, voxels=voxels)
    return {law: why for law, why in found if why}


@pytest.mark.parametrize("name", ["Plates", "Generated", "MeanHeight", "HalfSteps", "Watched"])
def test_good_parts_of_every_family_break_nothing(name):
    assert broken(name) == {}


def test_parts_about_voxels_are_tried_as_such():
    assert broken("Voxels", voxels=True) == {}
    assert broken("Flat", voxels=True) == {}
    assert "the target is None" in broken("Flat")["it gives objects of this world"]
    assert "wanted (1,)" in broken("Voxels")["it predicts every volume, in finite numbers"]


@pytest.mark.parametrize(
    ("name", "law", "why"),
    [
        ("Small", "it gives objects of this world", "the world has"),
        ("Common", "it draws from its stream only", "draw from rng"),
        ("Common", "the same stream gives the same object", "differ"),
        ("Growing", "an object does not depend on those before", "differ"),
        ("Blind", "its gradient in the panels is finite", "do not depend on the panels"),
        ("Crooked", "its gradient equals finite differences", "differences say"),
        ("Gossip", "a volume is predicted alone as beside others", "beside a second one"),
        ("Many", "it predicts every volume, in finite numbers", "wanted (1,)"),
        (
            "Forgetful",
            "a fit that is interrupted after each epoch ends with the same bits",
            "name in `remembers`",
        ),
        ("Unset", "its value is a finite number after every epoch", "set `metric`"),
        ("Moving", "a fit goes the same way without it", "differs"),
        ("AllAlong", "a fit that is interrupted after each epoch ends with the same bits", "must"),
        ("EachEpoch", "a fit that is interrupted within an epoch ends with the same bits", "must"),
        ("Strange", "what it remembers fits into a checkpoint", "set"),
        ("Explodes", "a fit with it stays finite", "KeyError: 'no such thing'"),
    ],
)  # fmt: skip
def test_a_part_that_breaks_a_law_is_told_which(name, law, why):
    assert why in broken(name)[law]


def test_options_are_given_and_a_family_can_be_named(folder):
    words = ["check", "my_parts:Plates", "--trust", str(folder)]
    good = CliRunner().invoke(app, [*words, "--set", "x0=0.02"])
    assert good.exit_code == 0
    assert good.output.count("ok  ") == 5
    bad = CliRunner().invoke(app, [*words, "--set", "x0=-0.02"])
    assert "must be > 0 m" in str(bad.exception)
    with pytest.raises(UserError, match="cannot be made with its options"):
        report("my_parts:Plates", "scene", [("y0", "1")], voxels=False)
    assert "it gives objects of this world" in broken("MeanHeight", "scene")


def test_what_a_class_looks_like_says_its_family():
    from tomopt_tasks import losses, volume  # noqa: PLC0415

    assert family_of(losses.VolumeMSELoss) == "loss"
    assert family_of(volume.VoxelPassiveGenerator) == "scene"
    assert family_of(torch.nn.Linear) == "loss"


def test_every_command_that_runs_or_reads_a_study_takes_trust():
    for words in (
        "show", "run", "plan", "evaluate", "predict", "report", "check", "diff", "invalidate",
        "campaign run", "campaign plan", "campaign status", "campaign report", "campaign commands",
    ):  # fmt: skip
        shown = CliRunner().invoke(app, [*words.split(), "--help"], env={"COLUMNS": "200"})
        assert "--trust" in shown.output, words


def test_a_campaign_of_own_parts_is_planned_by_who_trusts_them(folder, monkeypatch):
    monkeypatch.setenv(TRUST, "")
    campaign = folder / "campaign.yaml"
    campaign.write_text(
        f"version: 1\ncampaign: own\nbase: {TINY}\n"
        "set: {fit.callbacks: [{kind: my_parts:HalfSteps}]}\naxes: {seed: {seeds: 2}}\n"
    )
    words = ["campaign", "commands", str(campaign), "--store", str(folder / "store")]
    refused = CliRunner().invoke(app, words)
    assert "allow it with --trust PATH" in str(refused.exception)
    shown = CliRunner().invoke(app, [*words, "--trust", str(folder)])
    assert shown.exit_code == 0, shown.exception
    lines = [line for line in shown.stdout.splitlines() if "--member" in line]
    assert len(lines) == 2
    assert all(f"--trust {folder}" in line for line in lines)
