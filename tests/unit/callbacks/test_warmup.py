import math
import statistics

import pytest
import torch

from tests.unit.callbacks.toy import Loss, Wrapper, fit, parameters
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.detector import PanelCentring, PanelUpdateLimiter
from tomopt_tasks.callbacks.warmup import (
    CostCoefWarmup,
    OptConfig,
    PostWarmupCallback,
    WarmupCallback,
)


class Watch(Callback):
    """Which epochs changed the parameters, and when others were active."""

    def __init__(self, *others):
        self.others = others
        self.moved = []
        self.active = []

    def on_epoch_begin(self):
        if self.fit_params.state == "train":
            self.before = parameters(self.attached)
            self.active.append([other.warmup_active for other in self.others])

    def on_epoch_end(self):
        if self.fit_params.state == "train":
            after = parameters(self.attached)
            self.moved.append(any(not torch.equal(after[k], self.before[k]) for k in after))


def test_steps_begin_after_all_warm_ups_in_the_order_of_the_list(tmp_path):
    first, second = WarmupCallback(2), WarmupCallback(1)
    watch = Watch(first, second)
    fit([first, second, watch], tmp_path, n_epochs=5, valid=(1.0,))
    assert watch.active[:3] == [[True, False], [True, False], [False, True]]
    assert watch.active[3:] == [[False, False], [False, False]]
    assert watch.moved == [False, False, False, True, True]


@pytest.mark.parametrize("guard", [PanelCentring(), PanelUpdateLimiter(0.01, 0.01, 0.01)])
def test_d34_nothing_moves_during_a_warm_up_not_even_by_the_guards(tmp_path, guard):
    """D-34: conform_detector and callbacks moved panels although no step was taken."""
    watch = Watch()
    wrapper = Wrapper()  # its conform_detector clips spans from 1.0 to 0.9
    fit([WarmupCallback(2), guard, watch], tmp_path, n_epochs=3, wrapper=wrapper)
    assert watch.moved == [False, False, True]
    assert float(wrapper.volume.layers[0].panels[0].xy_span.detach().max()) == 0.9


def test_a_second_fit_warms_up_again(tmp_path):
    warmup, watch = WarmupCallback(1), Watch()
    wrapper = fit([warmup, watch], tmp_path, n_epochs=2)
    fit([warmup, watch], tmp_path, n_epochs=2, wrapper=wrapper)
    assert watch.moved == [False, True, False, True]


def test_a_warm_up_of_no_epochs_is_refused():
    with pytest.raises(ValueError, match="n_warmup = 0"):
        WarmupCallback(0)


@pytest.mark.parametrize("before", [True, False])
def test_callbacks_for_after_the_warm_up_start_with_the_first_step_wherever_they_stand(
    tmp_path, before
):
    class Post(PostWarmupCallback):
        started = None

        def activate(self):
            self.started = self.fit_params.epoch

    post, warmup = Post(), WarmupCallback(2)
    fit([post, warmup] if before else [warmup, post], tmp_path, n_epochs=4)
    assert post.started == 3


def test_callbacks_for_after_the_warm_up_start_at_once_without_one(tmp_path):
    post = PostWarmupCallback()
    fit([post], tmp_path, n_epochs=1)
    assert post.active


def test_cost_coefficient_is_the_median_error_of_the_training_volumes(tmp_path):
    class Errors(Callback):
        seen = ()

        def on_volume_end(self):
            if self.fit_params.state == "train" and self.fit_params.pred is not None:
                error = self.attached.loss_func.sub_losses["error"]
                self.seen = (*self.seen, float(error.detach()))

    class Uneven(Loss):
        def __call__(self, pred, volume):
            loss = super().__call__(pred, volume) * volume.target
            self.sub_losses["error"] = loss.sum()
            return loss.sum()

    errors, loss = Errors(), Uneven()
    wrapper = Wrapper(loss=loss)
    cbs = [CostCoefWarmup(2), errors]
    fit(cbs, tmp_path, n_epochs=2, targets=(1.0, 2.0, 7.0, -1.0), valid=(9.0,), wrapper=wrapper)
    assert len(errors.seen) == 6  # the volume without a prediction does not count
    assert loss.cost_coef == pytest.approx(statistics.median(errors.seen))
    assert type(loss.cost_coef) is float


def test_cost_coefficient_without_any_prediction_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="no prediction"):
        fit([CostCoefWarmup(1)], tmp_path, targets=(-1.0,))


def test_learning_rate_turns_the_median_gradient_into_the_wanted_step(tmp_path):
    wrapper = Wrapper(lr=123.0)
    config = OptConfig(2, {"z": 0.05})
    fit([config], tmp_path, n_epochs=2, wrapper=wrapper)
    # loss = D^2, D = 1.02 + 1.10 + 0.03; its derivatives by the heights 1, 1, 0.1 are 4 D z
    assert max(config.gradients["z"]) == pytest.approx(8.6)
    assert wrapper.get_opt_lr("z") == pytest.approx(0.05 / 8.6)
    assert wrapper.get_opt_lr("xy") == 123.0


def test_rates_for_unknown_optimisers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'z_pos'"):
        fit([OptConfig(1, {"z_pos": 0.1})], tmp_path)


def test_zero_gradients_give_no_infinite_rate(tmp_path):
    wrapper = Wrapper()
    for panel in wrapper.volume.layers[0].panels[:2]:
        panel.z.data.zero_()
    with pytest.raises(ValueError, match="median gradient is 0"):
        fit([OptConfig(1, {"z": 0.1})], tmp_path, wrapper=wrapper)


def test_d13_checkpoints_after_a_search_of_rates_load_without_code(tmp_path):
    """D-13: numpy scalars as learning rates made every later checkpoint fail to load."""
    wrapper = Wrapper(opt=torch.optim.Adam)
    fit([OptConfig(1, {"xy": 0.01, "z": 0.01})], tmp_path, wrapper=wrapper)
    wrapper.save(tmp_path / "after.pt")
    states = torch.load(tmp_path / "after.pt", weights_only=True)
    assert type(states["z"]["param_groups"][0]["lr"]) is float
    wrapper.load(tmp_path / "after.pt")
    assert math.isfinite(wrapper.get_opt_lr("z"))
