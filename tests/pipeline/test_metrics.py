"""Metrics of a fit: their value is in the row of every epoch, wherever the loss is shown."""

import pytest
import torch

from tests.pipeline.common import changed
from tomopt_tasks.commands.status import status
from tomopt_tasks.core import UserError
from tomopt_tasks.own import TRUST, trust
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.reports.artifacts import metrics_table
from tomopt_tasks.reports.status import loss_words, metric_lines
from tomopt_tasks.runs.occasions import Occasions
from tomopt_tasks.runs.progress import Tally
from tomopt_tasks.runs.run import PlainStage, begin
from tomopt_tasks.runs.standing import stopped_because
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.checkpoint import restore_volume, result_volume

MODULE = """
from tomopt_tasks import EvalMetric

class Scripted(EvalMetric):
    "Gives the numbers in its options, one an epoch."
    def __init__(self, values, lower_metric_better=True, name=None, main_metric=True):
        super().__init__(lower_metric_better, name, main_metric)
        self.values = values
    def on_epoch_end(self):
        if self.fit_params.state == "train":
            self.metric = self.values[self.fit_params.epoch - 1]

class Words(Scripted):
    def get_metric(self):
        return "much"
"""
FAR = "{kind: sgd, rate: 0.02}"
OPTIMISER = ("fit.optimiser", f"{{xy: {FAR}, z: {FAR}, side: {FAR}}}")
ERROR = ("fit.callbacks", "[{kind: calibrated_rmse}]")
KEEPER = "{kind: best_keeper}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, "")
    (tmp_path / "my_parts.py").write_text(MODULE)
    trust([tmp_path])
    return tmp_path


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    return open_store(tmp_path_factory.mktemp("metrics") / "store")


def fitted(store, *changes, epochs=3):
    """A run after its fit."""
    phases = ("fit.phases", f"[{{name: only, epochs: {epochs}}}]")
    with begin(changed(phases, OPTIMISER, *changes), store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            run.all(PlainStage(name))
    return run


def trees(run):
    stages = [stage for stage in plan_study(run.study) if stage.kind == "checkpoint"]
    return [run.store.get_record(run.refs[stage.key]) for stage in stages]


def scripted(values, **options):
    more = "".join(f", {name}: {value}" for name, value in options.items())
    return f"{{kind: my_parts:Scripted, values: {values}{more}}}"


def parameters(volume):
    return torch.cat([value.detach().reshape(-1) for value in volume.parameters()])


def test_the_calibrated_error_is_the_root_of_the_calibrated_loss(banks):
    run = fitted(banks, ERROR, ("loss", "{kind: volume_mse}"), ("fit.watch", "valid"))
    for row in run.history:
        assert row["metrics"]["calibrated_rmse"]["value"] ** 2 == pytest.approx(row["valid"])
    run = fitted(banks, ERROR, ("loss", "{kind: volume_mse}"))
    for row in run.history:
        assert row["metrics"]["calibrated_rmse"]["value"] ** 2 == pytest.approx(row["loss"])


def test_a_metric_looks_and_leaves_the_fit_and_its_row_alone(banks):
    seen, alone = (trees(fitted(banks, *more))[-1] for more in ([ERROR], []))
    assert all(torch.equal(seen["volume"][name], v) for name, v in alone["volume"].items())
    assert {name: v for name, v in seen["row"].items() if name != "metrics"} == alone["row"]


@pytest.mark.parametrize(
    ("lower", "values", "best"),
    [("true", [2, 1, 3], 2), ("false", [2, 3, 1], 2), ("true", [1, 2, 3], 1)],
)
def test_the_best_keeper_judges_by_the_main_metric(lower, values, best, banks):
    metric = scripted(values, lower_metric_better=lower)
    found = trees(fitted(banks, ("fit.callbacks", f"[{metric}, {KEEPER}]")))
    # what training volumes say belongs to the parameters before the updates of their epoch
    wanted = restore_volume(found[best - 1])
    assert torch.equal(parameters(result_volume(found[-1])), parameters(wanted))


def test_a_metric_that_is_not_the_main_one_judges_nothing(banks):
    metric = scripted([2, 1, 3], main_metric="false")
    with_metric = trees(fitted(banks, ("fit.callbacks", f"[{metric}, {KEEPER}]")))[-1]
    without = trees(fitted(banks, ("fit.callbacks", f"[{KEEPER}]")))[-1]
    assert torch.equal(parameters(result_volume(with_metric)), parameters(result_volume(without)))
    assert with_metric["row"]["metrics"]["Scripted"]["main"] is False


def test_the_main_metric_of_several_is_the_first_of_ones_own(banks):
    one, two = scripted([1, 2, 3], name="one"), scripted([3, 2, 1], name="two")
    callbacks = f"[{{kind: calibrated_rmse}}, {one}, {two}, {KEEPER}]"
    found = trees(fitted(banks, ("fit.callbacks", callbacks)))
    mains = {name: each["main"] for name, each in found[-1]["row"]["metrics"].items()}
    assert mains == {"one": True, "two": False, "calibrated_rmse": False}
    assert torch.equal(parameters(result_volume(found[-1])), parameters(restore_volume(found[0])))


def test_a_fit_stops_by_its_metric_and_says_so(banks):
    early = ("fit.guards", "{early: {patience: 2}}")
    metric = scripted([1, 2, 3, 4, 5])
    run = fitted(banks, early, ("fit.callbacks", f"[{metric}]"), epochs=5)
    assert [row["stopped"] for row in run.history] == [False, False, True, True, True]
    assert stopped_because(run) == (
        "The fit stopped itself in epoch 3: the Scripted did not become better any more."
    )


def test_a_metric_is_shown_wherever_the_loss_is(banks):
    metric = scripted([0.5, 0.25, 0.375], name="height")
    run = fitted(banks, ("fit.callbacks", f"[{metric}]"))
    assert metrics_table(run.history)[1]["metric height"] == 0.25
    assert list(metric_lines(run.history)) == ["height 0.375, the best 0.25 in epoch 2."]
    assert loss_words(run.history).startswith("Loss ")
    tally = Tally.of(plan_study(run.study))
    last = [stage for stage in plan_study(run.study) if stage.name == "fit_epoch"][-1]
    tally.add(last, run.refs[last.key], None)
    assert tally.words().endswith(", height 0.375")
    shown = status(banks)
    newest = next(each for each in shown.data["runs"] if each["run"] == run.id)
    assert newest["metrics"]["height"]["value"] == 0.375
    assert any("height 0.375" in line for line in shown.lines)


def test_who_listens_to_a_run_hears_its_metrics(banks):
    metric = scripted([0.5, 0.25, 0.125], name="depth")
    phases = ("fit.phases", "[{name: only, epochs: 3}]")
    study = changed(phases, OPTIMISER, ("fit.callbacks", f"[{metric}]"))
    heard = []
    with begin(study, banks) as run:
        for name in ("make_volumes", "transport_muons", "start_fit"):
            run.all(PlainStage(name))
        occasions = Occasions(run)
        for _ in run.each(PlainStage("fit_epoch")):
            heard += [each for each in occasions.epoch() if each.occasion == "epoch"]
    assert [each.facts["metrics"] for each in heard] == [{"depth": v} for v in (0.5, 0.25, 0.125)]
    assert heard[-1].words.endswith(", depth 0.125")


def test_metrics_that_nobody_could_tell_apart_are_a_sentence(banks):
    twice = f"[{scripted([1, 2, 3])}, {scripted([1, 2, 3])}]"
    with pytest.raises(UserError, match=r"two metrics are called Scripted.*give one another name"):
        fitted(banks, ("fit.callbacks", twice))


def test_a_value_that_is_no_number_is_a_sentence(banks):
    metric = scripted([1, 2, 3]).replace("Scripted", "Words")
    with pytest.raises(UserError, match=r"the metric Words gave 'much', which is no number"):
        fitted(banks, ("fit.callbacks", f"[{metric}]"))


def test_a_value_that_is_not_known_judges_nothing_and_is_none_in_the_row(banks):
    metric = scripted("[null, 2, 3]")
    found = trees(fitted(banks, ("fit.callbacks", f"[{metric}, {KEEPER}]")))
    assert found[1]["row"]["metrics"]["Scripted"]["value"] is None
    wanted = restore_volume(found[1])
    assert torch.equal(parameters(result_volume(found[-1])), parameters(wanted))
