"""The price of the detector in losses of a whole batch."""

import pytest
import torch

from tests.unit.callbacks.toy import Wrapper
from tomopt_tasks.callbacks.base import FitParams
from tomopt_tasks.callbacks.cost import BatchCost
from tomopt_tasks.losses.base import budget_coef
from tomopt_tasks.losses.settings import (
    ExpectedMSELossSettings,
    SpreadRangeLossSettings,
    VolumeMSELossSettings,
)
from tomopt_tasks.wrapper.build import build_loss


def toy(mean_loss):
    """A wrapper of two square metres at a price of 1 / m2, in the middle of an update."""
    side = torch.tensor([2.0**0.5], dtype=torch.float64, requires_grad=True)
    wrapper = Wrapper()
    wrapper.side, wrapper.fit_params = side, FitParams(mean_loss=mean_loss)
    wrapper.volume.get_cost = lambda: side**2
    return wrapper


def added(mean_loss=0.3, **settings):
    """The callback and the loss that it leaves."""
    cost = BatchCost(1.6, **settings)
    wrapper = toy(mean_loss if mean_loss is None else torch.tensor([mean_loss]).double())
    cost.wrapper = wrapper
    cost.on_volume_batch_end()
    return cost, wrapper


@pytest.mark.parametrize("steep", [True, False])
def test_the_price_is_that_of_losses_of_one_volume(steep):
    _, wrapper = added(cost_coef=0.2, steep_budget=steep)
    price = budget_coef(torch.tensor([2.0 / 1.6]).double(), 10.0, steep=steep)
    torch.testing.assert_close(wrapper.fit_params.mean_loss.detach(), 0.3 + 0.2 * price)
    wrapper.fit_params.mean_loss.sum().backward()
    assert wrapper.side.grad > 0


def test_an_open_weight_becomes_the_first_loss_and_is_remembered():
    cost, _ = added()
    assert cost.cost_coef == pytest.approx(0.3)
    cost.wrapper = toy(torch.tensor([9.0]).double())
    cost.on_volume_batch_end()
    assert cost.state_dict() == {"cost_coef": pytest.approx(0.3)}


def test_a_batch_without_a_loss_costs_nothing():
    cost, wrapper = added(None)
    assert wrapper.fit_params.mean_loss is None
    assert cost.cost_coef is None


def test_a_study_adds_it_where_there_is_a_target_and_only_there():
    for kind in (SpreadRangeLossSettings, VolumeMSELossSettings):
        _, callbacks = build_loss(kind(target_budget=3.0, cost_coef=0.5, steep_budget=False))
        (cost,) = [each for each in callbacks if isinstance(each, BatchCost)]
        assert (cost.target_budget, cost.cost_coef, cost.steep_budget) == (3.0, 0.5, False)
        assert len(build_loss(kind())[1]) == 1
    assert len(build_loss(ExpectedMSELossSettings())[1]) == 1
