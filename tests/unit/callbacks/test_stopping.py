import math

import pytest
import torch

from tests.unit.callbacks.toy import Wrapper, fit, parameters
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.metrics import EvalMetric
from tomopt_tasks.callbacks.stopping import BestKeeper, DivergenceGuard, EarlyStopping
from tomopt_tasks.callbacks.warmup import WarmupCallback


class Script(Callback):
    """Replaces the loss of each update by the next number; keeps the graph."""

    def __init__(self, *numbers, state="train"):
        self.numbers = list(numbers)
        self.state = state
        self.epochs = 0

    def on_volume_batch_end(self):
        fit_params = self.fit_params
        if fit_params.state == self.state:
            number = self.numbers.pop(0)
            if number is None or fit_params.mean_loss is None:
                fit_params.mean_loss = None
            else:
                fit_params.mean_loss = 0 * fit_params.mean_loss + number

    def on_epoch_end(self):
        self.epochs += self.fit_params.state == "train"


def test_fit_stops_after_the_epochs_of_patience_without_improvement(tmp_path):
    script = Script(5.0, 4.0, 4.0, 4.1, 3.0)
    stopping = EarlyStopping(patience=2)
    fit([script, stopping], tmp_path, n_epochs=5, targets=(1.0,))
    assert script.epochs == 4
    assert stopping.stopped
    assert stopping.best == 4.0


def test_improvement_resets_the_patience(tmp_path):
    script = Script(5.0, 5.0, 4.0, 4.0, 3.0, 3.0)
    fit([script, EarlyStopping(patience=2)], tmp_path, n_epochs=6, targets=(1.0,))
    assert script.epochs == 6


def test_small_improvements_do_not_count(tmp_path):
    script = Script(5.0, 4.9, 4.8, 4.7)
    fit([script, EarlyStopping(2, min_change=0.5)], tmp_path, n_epochs=4, targets=(1.0,))
    assert script.epochs == 3


def test_validation_decides_where_there_is_one(tmp_path):
    script = Script(5.0, 5.0, 4.0, state="valid")
    train = Script(5.0, 4.0, 3.0)
    fit([train, script, EarlyStopping(1)], tmp_path, n_epochs=3, targets=(1.0,), valid=(1.0,))
    assert script.epochs == 2


def test_epochs_of_a_warm_up_do_not_wear_the_patience_out(tmp_path):
    script = Script(5.0, 5.0, 5.0, 5.0, 5.0)
    cbs = [WarmupCallback(3), script, EarlyStopping(1)]
    fit(cbs, tmp_path, n_epochs=5, targets=(1.0,))
    assert script.epochs == 5


def test_a_metric_can_decide_instead_of_the_loss(tmp_path):
    class Falling(EvalMetric):
        def on_epoch_end(self):
            self.metric = 10.0 - self.fit_params.epoch

    script = Script(5.0, 4.0, 3.0, 2.0)
    metric = Falling(lower_metric_better=False)
    fit([metric, script, EarlyStopping(2, metric=metric)], tmp_path, n_epochs=4, targets=(1.0,))
    assert script.epochs == 3


def test_a_restored_stop_stays_a_stop(tmp_path):
    before = EarlyStopping(1)
    fit([Script(1.0, 2.0), before], tmp_path, n_epochs=2, targets=(1.0,))

    class Resume(Callback):
        def on_train_begin(self):
            after.load_state_dict(before.state_dict())

    after, script = EarlyStopping(1), Script(0.5, 0.1)
    fit([script, after, Resume()], tmp_path, n_epochs=2, targets=(1.0,))
    assert script.epochs == 1


def test_patience_of_nothing_is_refused():
    with pytest.raises(ValueError, match="patience = 0"):
        EarlyStopping(0)
    with pytest.raises(ValueError, match="patience = 0"):
        DivergenceGuard(patience=0)
    with pytest.raises(ValueError, match="factor"):
        DivergenceGuard(factor=1.0)


class Snapshots(Callback):
    def __init__(self):
        self.at = {}

    def on_epoch_begin(self):
        if self.fit_params.state == "train":
            self.at[self.fit_params.epoch] = parameters(self.attached)


def test_best_parameters_come_back_those_that_the_training_loss_belongs_to(tmp_path):
    keeper, snapshots = BestKeeper(), Snapshots()
    script = Script(5.0, 2.0, 3.0, 4.0)
    wrapper = fit([script, keeper, snapshots], tmp_path, n_epochs=4, targets=(1.0,),
                  wrapper=Moving())  # fmt: skip
    assert keeper.best_epoch == 2
    after = parameters(wrapper)
    assert all(torch.equal(after[name], snapshots.at[2][name]) for name in after)
    assert not torch.equal(after["layers.0.panels.0.z"], snapshots.at[3]["layers.0.panels.0.z"])
    assert wrapper.volume.n_assigned == 1


class Moving(Wrapper):
    """Moves although the scripted loss has no gradient."""

    def __init__(self):
        super().__init__()
        for opt in self.opts.values():
            opt.register_step_post_hook(self._shift)

    @staticmethod
    @torch.no_grad()
    def _shift(opt, *_):
        for group in opt.param_groups:
            for parameter in group["params"]:
                parameter.add_(0.01)


def test_validation_loss_belongs_to_the_parameters_after_the_updates(tmp_path):
    keeper, snapshots = BestKeeper(), Snapshots()
    script = Script(5.0, 2.0, 3.0, state="valid")
    wrapper = fit([script, keeper, snapshots], tmp_path, n_epochs=3, targets=(1.0,), valid=(1.0,),
                  wrapper=Moving())  # fmt: skip
    after = parameters(wrapper)
    assert all(torch.equal(after[name], snapshots.at[3][name]) for name in after)


def test_keeper_without_restoring_leaves_the_last_parameters(tmp_path):
    keeper = BestKeeper(restore=False)
    wrapper = fit([Script(2.0, 3.0), keeper], tmp_path, n_epochs=2, targets=(1.0,),
                  wrapper=Moving())  # fmt: skip
    last = parameters(wrapper)
    keeper.restore()
    assert not torch.equal(parameters(wrapper)["layers.0.panels.0.z"], last["layers.0.panels.0.z"])


def test_keeper_without_any_finite_loss_changes_nothing(tmp_path):
    keeper = BestKeeper()
    wrapper = fit([Script(math.nan, None), keeper], tmp_path, n_epochs=2, targets=(1.0,))
    assert keeper.parameters == {}
    assert wrapper.volume.n_assigned == 0


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_update_with_a_useless_loss_is_not_made(tmp_path, bad):
    guard = DivergenceGuard(patience=3)
    wrapper = fit([Script(1.0, bad), guard], tmp_path, n_epochs=1, targets=(1.0, 1.0),
                  wrapper=Moving())  # fmt: skip
    assert float(wrapper.volume.layers[0].panels[0].z.detach()) == pytest.approx(1.01)
    assert guard.n_bad == 1
    assert guard.reason is None


@pytest.mark.parametrize(
    ("numbers", "options", "epochs"),
    [
        ((1.0, math.nan, math.nan, 1.0), {"patience": 2}, 3),
        ((1.0, math.nan, 1.0, math.nan), {"patience": 2}, 4),
        ((1.0, 11.0, 12.0, 1.0), {"patience": 2, "factor": 10.0}, 3),
        ((1.0, 9.0, 9.0, 9.0), {"patience": 2, "factor": 10.0}, 4),
        ((-5.0, -4.0, -1.0, 5.0), {"patience": 1, "factor": 10.0}, 4),  # a logarithm
        ((-5.0, -4.0, -1.0, 5.0), {"patience": 1, "max_rise": 3.0}, 3),
        ((None, None, 1.0, 1.0), {"patience": 2}, 2),
    ],
)
def test_fit_stops_after_bad_updates_in_a_row(tmp_path, numbers, options, epochs):
    script, guard = Script(*numbers), DivergenceGuard(**options)
    fit([script, guard], tmp_path, n_epochs=4, targets=(1.0,))
    assert script.epochs == epochs
    assert (guard.reason is not None) == (epochs < 4)


def test_guard_says_why_it_stopped(tmp_path):
    guard = DivergenceGuard(patience=1, factor=10.0)
    fit([Script(2.0, 50.0), guard], tmp_path, n_epochs=2, targets=(1.0,))
    assert guard.reason == (
        "stopped in epoch 2: the loss is 50 (smallest so far 2) after 1 bad updates in a row; "
        "lower the learning rates or limit the steps"
    )
