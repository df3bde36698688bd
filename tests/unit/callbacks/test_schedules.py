import math
from itertools import pairwise

import pytest
import torch

from tests.unit.callbacks.toy import Volume, Wrapper, fit, real_volume
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.schedules import (
    OneCycle,
    RelativeSchedule,
    SigmoidPanelSmoothnessSchedule,
)
from tomopt_tasks.callbacks.shapes import cosine_between
from tomopt_tasks.callbacks.warmup import OptConfig, WarmupCallback
from tomopt_tasks.wrapper.schedule_settings import OneCycleSettings

N_VOLUMES = 2  # steps an epoch


class Rates(Callback):
    """Learning rate and momentum before each step, and after the last one."""

    def __init__(self):
        self.lr, self.mom, self.smooth = [], [], []

    def _note(self):
        self.lr.append(self.attached.get_opt_lr("z"))
        self.mom.append(self.attached.get_opt_mom("z"))

    def on_backwards_begin(self):
        self._note()

    def on_epoch_begin(self):
        if self.fit_params.state == "train":
            self.smooth.append(float(self.attached.volume.layers[0].panels[0].smooth))

    def on_train_end(self):
        self._note()


def run(tmp_path, cbs, n_epochs, **options):
    rates = Rates()
    wrapper = Wrapper(opt=torch.optim.Adam, lr=7.0)
    fit([*cbs, rates], tmp_path, n_epochs=n_epochs, wrapper=wrapper, **options)
    return rates


@pytest.mark.parametrize("n_warmups", [0, 1, 3])
@pytest.mark.parametrize("position", ["before", "after"])
def test_d07_one_cycle_goes_from_init_to_mid_to_final_after_any_warm_ups(
    tmp_path, n_warmups, position
):
    """D-07: the second phase ran backwards, the first lasted an epoch too long.

    Relative to the activation: steps 0 to 4 rise from 0.1 to 1 (2 epochs of 2 steps), steps 4 to
    12 fall to 0.01 (4 epochs).
    """
    cycle = OneCycle("z", 2, init_lr=0.1, mid_lr=1.0, final_lr=0.01, init_mom=0.95, mid_mom=0.85)
    warmups = [WarmupCallback(1) for _ in range(n_warmups)]
    cbs = [cycle, *warmups] if position == "before" else [*warmups, cycle]
    rates = run(tmp_path, cbs, n_epochs=6 + n_warmups)
    waiting = N_VOLUMES * n_warmups
    assert rates.lr[:waiting] == [0.1] * waiting
    lr, mom = rates.lr[waiting:], rates.mom[waiting:]
    assert len(lr) == 13
    assert (lr[0], lr[4], lr[12]) == (0.1, 1.0, 0.01)  # exact
    assert (mom[0], mom[4], mom[12]) == (0.95, 0.85, 0.95)
    assert all(a < b for a, b in pairwise(lr[:5]))
    assert all(a > b for a, b in pairwise(lr[4:]))
    assert lr[2] == pytest.approx(0.55)  # half-way: the mean
    assert lr[8] == pytest.approx(0.505)
    assert all(type(value) is float for value in rates.lr)  # D-13


def test_d07_warm_ups_longer_than_the_rise_are_no_error(tmp_path):
    """D-07: AttributeError when the warm-ups outlasted ``warmup_length``."""
    rates = run(tmp_path, [WarmupCallback(4), OneCycle("z", 1, 0.1, None, 1.0)], n_epochs=6)
    assert rates.lr[-1] == 0.1


def test_one_cycle_leaves_what_is_not_given_alone(tmp_path):
    rates = run(tmp_path, [OneCycle("z", 1, init_mom=0.9, mid_mom=0.8)], n_epochs=3)
    assert set(rates.lr) == {7.0}
    assert min(rates.mom) == 0.8


def test_one_cycle_with_a_length_holds_its_last_value(tmp_path):
    cycle = OneCycle("z", 1, init_lr=0.1, mid_lr=1.0, final_lr=0.2, length=3)
    rates = run(tmp_path, [cycle], n_epochs=5)
    assert rates.lr[6:] == [0.2] * 5


def test_one_cycle_counts_the_short_last_batch_as_a_step(tmp_path):
    cycle = OneCycle("z", 1, init_lr=0.1, mid_lr=1.0, final_lr=0.2)
    rates = run(tmp_path, [cycle], n_epochs=3, targets=(1.0, 2.0, 3.0), bs=2)
    assert (rates.lr[2], rates.lr[6]) == (1.0, 0.2)


def test_one_cycle_names_an_optimiser_that_exists(tmp_path):
    with pytest.raises(ValueError, match=r"'zz'; there are \['xy', 'z'\]"):
        run(tmp_path, [OneCycle("zz", 1, init_lr=0.1)], n_epochs=1)


def test_d13_checkpoints_during_a_cycle_load_without_code(tmp_path):
    """D-13: learning rates were numpy scalars."""
    wrapper = Wrapper(opt=torch.optim.Adam)
    fit([OneCycle("z", 1, 0.1, 0.9, 1.0, 0.8)], tmp_path, n_epochs=2, wrapper=wrapper)
    wrapper.save(tmp_path / "cycle.pt")
    group = torch.load(tmp_path / "cycle.pt", weights_only=True)["z"]["param_groups"][0]
    assert type(group["lr"]) is float
    assert type(group["betas"][0]) is float


def test_relative_cycle_scales_the_rate_that_the_search_found(tmp_path):
    wrapper = Wrapper()
    rates = Rates()
    rates._note = lambda: rates.lr.append(wrapper.get_opt_lr("z"))
    search = OptConfig(2, {"z": 1e-4})
    cycle = RelativeSchedule("z", OneCycleSettings(warmup=1, length=3).factor, 3)
    fit([search, cycle, rates], tmp_path, n_epochs=5, wrapper=wrapper)
    base = search.lrs["z"]
    found = [rate / base for rate in rates.lr[4:]]
    assert (found[0], found[2], found[6]) == pytest.approx((2.0, 10.0, 1.0))


@pytest.mark.parametrize("n_warmup", [0, 2])
def test_smoothness_falls_by_a_constant_factor_from_first_to_last_exactly(tmp_path, n_warmup):
    warmups = [WarmupCallback(n_warmup)] if n_warmup else []
    schedule = SigmoidPanelSmoothnessSchedule((1.0, 0.01))
    rates = run(tmp_path, [*warmups, schedule], n_epochs=5 + n_warmup, valid=(1.0,))
    assert rates.smooth[:n_warmup] == [1.0] * n_warmup
    widths = rates.smooth[n_warmup:]
    assert (widths[0], widths[-1]) == (1.0, 0.01)
    assert widths == pytest.approx([1.0, 0.1**0.5, 0.1, 0.1**1.5, 0.01])


def test_smoothness_with_a_length_holds_its_last_value(tmp_path):
    rates = run(tmp_path, [SigmoidPanelSmoothnessSchedule((1.0, 0.1), length=2)], n_epochs=4)
    assert rates.smooth == [1.0, 0.1, 0.1, 0.1]


def test_d16_a_checkpoint_after_the_smoothness_schedule_loads_into_fresh_panels(tmp_path):
    """D-16: the schedule left the width with shape (), which fresh panels refused."""
    wrapper = Wrapper(Volume(list(real_volume().get_detectors())))
    fit([SigmoidPanelSmoothnessSchedule((1.0, 0.25))], tmp_path, wrapper=wrapper)
    wrapper.save(tmp_path / "smooth.pt")
    fresh = Wrapper(Volume(list(real_volume().get_detectors())))
    fresh.load(tmp_path / "smooth.pt")
    width = fresh.volume.layers[0].panels[0].smooth
    assert width.shape == (1,)
    assert float(width) == 0.25


def test_smoothness_of_zero_is_refused():
    with pytest.raises(ValueError, match="not positive"):
        SigmoidPanelSmoothnessSchedule((1.0, 0.0))


def test_cosine_is_exact_at_both_ends_and_level_there():
    assert cosine_between(0.1, 0.3, 0.0) == 0.1
    assert cosine_between(0.1, 0.3, 1.0) == 0.3
    assert cosine_between(0.1, 0.3, 2.0) == 0.3
    small = 1e-4
    slope = (cosine_between(0.0, 1.0, small) - 0.0) / small
    assert slope == pytest.approx(math.pi**2 / 4 * small, rel=1e-6)
