"""Callbacks that a study names by kind do in a real fit what they are there for."""

import re

import pytest
import torch

from tests.pipeline.common import changed
from tomopt_tasks.callbacks.base import detector_panels
from tomopt_tasks.own import TRUST, trust
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import PlainStage, begin
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.checkpoint import restore_volume, result_volume

ONE_PHASE = ("fit.phases", "[{name: only, epochs: 3}]")
FAR = "{kind: sgd, rate: 0.02}"
OPTIMISER = ("fit.optimiser", f"{{xy: {FAR}, z: {FAR}, side: {FAR}}}")

MODULE = """
from tomopt_tasks import Callback

class Spoil(Callback):
    def on_backwards_end(self):
        panel = self.attached.get_detectors()[0].panels[0]
        if panel.z.grad is not None:
            panel.z.grad.fill_(float("nan"))
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(TRUST, "")
    (tmp_path / "my_parts.py").write_text(MODULE)
    trust([tmp_path])
    return tmp_path


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """The banks of the small study; every test fits in this store, under keys of its own."""
    return open_store(tmp_path_factory.mktemp("callbacks") / "store")


def trees(store, *changes):
    """The checkpoints of a fit, in order."""
    study = changed(ONE_PHASE, OPTIMISER, *changes)
    with begin(study, store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            run.all(PlainStage(name))
    stages = [stage for stage in plan_study(study) if stage.kind == "checkpoint"]
    return [store.get_record(store.find("checkpoint", stage.key)) for stage in stages]


def parameters(volume):
    return {name: value.detach().clone() for name, value in volume.named_parameters()}


def test_the_best_keeper_gives_the_parameters_of_the_smallest_loss(banks):
    found = trees(banks, ("fit.callbacks", "[{kind: best_keeper}]"))
    losses = [tree["row"]["loss"] for tree in found[1:]]
    best = losses.index(min(losses))
    assert best < len(losses) - 1  # such rates lead away from the best
    # a training loss belongs to the parameters before the one update of its epoch
    kept, wanted = parameters(result_volume(found[-1])), parameters(restore_volume(found[best]))
    assert all(torch.equal(kept[name], wanted[name]) for name in wanted)
    last = parameters(restore_volume(found[-1]))
    assert not all(torch.equal(kept[name], last[name]) for name in last)


def test_the_best_by_the_validation_volumes_is_kept_and_their_loss_is_in_the_row(banks):
    found = trees(banks, ("fit.watch", "valid"), ("fit.callbacks", "[{kind: best_keeper}]"))
    losses = [tree["row"]["valid"] for tree in found[1:]]
    assert losses != [tree["row"]["loss"] for tree in found[1:]]
    best = losses.index(min(losses)) + 1  # a validation loss belongs to the end of its epoch
    kept, wanted = parameters(result_volume(found[-1])), parameters(restore_volume(found[best]))
    assert all(torch.equal(kept[name], wanted[name]) for name in wanted)
    without = trees(banks)
    assert all(
        torch.equal(found[-1]["volume"][name], value)
        for name, value in without[-1]["volume"].items()
    )  # looking moves nothing
    assert "valid" not in without[-1]["row"]


def test_a_fit_that_watches_the_validation_volumes_stops_by_them(banks):
    guards = ("fit.guards", "{early: {patience: 1, min_change: 1000}}")
    study = changed(ONE_PHASE, OPTIMISER, guards, ("fit.watch", "valid"))
    with begin(study, banks) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            run.all(PlainStage(name))
    epochs = [stage for stage in plan_study(study) if stage.name == "fit_epoch"]
    assert epochs[0].parents["valid/bank"] != epochs[0].parents["bank"]
    made = [banks.find("checkpoint", stage.key) for stage in epochs]
    assert [ref is not None for ref in made] == [True, True, False]
    assert made[1].metrics["stopped"]


def test_the_weight_of_the_cost_is_the_median_error_and_the_detector_waits_for_it(banks):
    loss = [
        ("constraints", "{area: null}"),
        ("loss", "{kind: volume_mse, correct: false, target_budget: 5}"),
    ]
    warmup = ("fit.callbacks", "[{kind: cost_coef_warmup, epochs: 2}]")
    found = trees(banks, *loss, warmup, ("fit.phases", "[{name: only, epochs: 1}]"))
    assert len(found) == 4  # the start, two epochs of the warm-up, one of the fit
    weights = [float(tree["loss"]["_cost_coef"]) for tree in found[1:]]
    first = trees(banks, *loss)[1]
    assert weights[0] == float(first["loss"]["_cost_coef"])  # that of the first volume
    assert weights[1] == weights[2] != weights[0]
    start, before, after = (heights(restore_volume(found[i])) for i in (0, 2, 3))
    assert torch.equal(start, before)
    assert not torch.equal(start, after)


PLAIN = ("loss", "{kind: volume_mse, correct: false}")
LINE = ("fit.callbacks", "[{kind: linear_correction}]")


def test_the_loss_judges_predictions_that_the_line_of_the_last_update_has_corrected(banks):
    once = ("fit.phases", "[{name: only, epochs: 1}]")
    plain, raw = (trees(banks, PLAIN, once, *more)[-1] for more in ([LINE], []))
    assert plain["row"]["loss"] == raw["row"]["loss"]  # the line is 1 p + 0 before the first update
    line = plain["of_loss"][-1]
    given = f"[{{kind: linear_correction, weight: {line['weight']!r}, bias: {line['bias']!r}}}]"
    fitted = trees(banks, PLAIN, once, ("fit.callbacks", given))[-1]["row"]["loss"]
    best = trees(banks, ("loss", "{kind: volume_mse}"), once)[-1]["row"]["loss"]
    assert fitted == pytest.approx(best, rel=1e-9)  # which has fitted the same line
    assert fitted < 0.9 * raw["row"]["loss"]


@pytest.mark.parametrize("kind", ["spread_range", "expected_mse", "volume_mse"])
def test_losses_with_a_line_of_their_own_do_not_see_another(kind, banks):
    more = ("loss", f"{{kind: {kind}}}"), ("fit.phases", "[{name: only, epochs: 2}]")
    found, plain = trees(banks, *more, LINE)[-1], trees(banks, *more)[-1]
    assert found["row"]["loss"] == pytest.approx(plain["row"]["loss"], rel=1e-9)
    assert found["of_loss"][-1]["weight"] != 1.0


def test_the_next_phase_goes_on_with_the_line(banks):
    phases = "[{name: one, epochs: 2}, {name: two, epochs: 1, limits: {z: 1 cm}}]"
    found = trees(banks, PLAIN, LINE, ("fit.phases", phases))
    lines = [tree["of_loss"][-1] for tree in found[1:]]
    assert lines[0] != {"weight": 1.0, "bias": 0.0}
    assert found[3]["row"]["loss"] == trees(banks, PLAIN, LINE)[3]["row"]["loss"]


def heights(volume):
    return torch.stack([panel.z.detach() for panel in detector_panels(volume.get_detectors())])


def test_the_next_phase_goes_on_from_the_best(banks):
    more = "{name: more, epochs: 1, callbacks: [], limits: {z: 1 mm}}"
    found = trees(
        banks,
        ("fit.callbacks", "[{kind: best_keeper}]"),
        ("fit.phases", f"[{{name: only, epochs: 3}}, {more}]"),
    )
    last, after = (heights(restore_volume(found[i])) for i in (3, 4))
    best = heights(result_volume(found[3]))
    assert (last - best).abs().max() > 5e-3
    assert 0 < (after - best).abs().max() <= 1e-3 + 1e-9
    assert "best" not in found[4]


def test_a_find_that_is_not_finite_is_named_in_the_row_and_costs_no_step(banks, folder):
    """A user's callback spoils one gradient in each update."""
    spoil = "{kind: my_parts:Spoil, first: true}"
    named = "{kind: gradient_record}, {kind: no_more_nans}"
    tree = trees(banks, ("fit.callbacks", f"[{spoil}, {named}]"))[-1]
    line, *others = tree["row"]["nonfinite"]
    assert re.fullmatch(r"epoch 1, train, update 0: the gradient of above\[0\]\.z is nan.*", line)
    assert len(others) == 2  # one an epoch
    assert all(torch.isfinite(value).all() for value in tree["volume"].values())
    without = trees(banks, ("fit.callbacks", f"[{spoil}]"))[-1]
    assert not all(torch.isfinite(value).all() for value in without["volume"].values())
    assert "nonfinite" not in without["row"]


def test_panel_centring_keeps_the_panels_of_a_layer_on_one_axis(banks):
    free = ("fit.parameters", "{xy: free}")

    def centres(*changes):
        volume = restore_volume(trees(banks, free, *changes)[-1])
        return [
            torch.stack([panel.xy for panel in layer.panels]) for layer in volume.get_detectors()
        ]

    assert not all((xy == xy[0]).all() for xy in centres())
    assert all((xy == xy[0]).all() for xy in centres(("fit.callbacks", "[{kind: panel_centring}]")))
