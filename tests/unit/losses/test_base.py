import logging

import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64, FakeVolume
from tomopt_tasks.losses import VolumeMSELoss, VoxelX0Loss
from tomopt_tasks.losses.base import AbsDetectorLoss, budget_coef


class Constant(AbsDetectorLoss):
    """An error that is the prediction itself."""

    def get_inference_loss(self, pred, volume):  # noqa: ARG002
        return pred.mean()


def with_cost(value):
    return FakeVolume(cost=torch.tensor([value], dtype=F64, requires_grad=True))


def error(value):
    return torch.tensor([value], dtype=F64)


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.5, 0.01338570), (0.9, 0.53788284), (1.0, 1.0), (1.1, 1.5), (2.0, 6.0)],
)
def test_golden_values_of_the_steep_budget_term(share, expected):
    found = budget_coef(torch.tensor(share, dtype=F64), 10.0, steep=True)
    assert float(found) == pytest.approx(expected, abs=5e-9)


@pytest.mark.parametrize("share", [0.5, 0.9, 1.0, 1.1, 2.0])
def test_the_smooth_budget_term_saturates_and_then_grows_slowly(share):
    found = budget_coef(torch.tensor(share, dtype=F64), 10.0, steep=False)
    soft = 2 / (1 + torch.exp(torch.tensor(-10 * (share - 1), dtype=F64)))
    assert_close(found, soft + max(share - 1.0, 0.0))


def test_value_and_slope_of_the_steep_term_join_at_the_target():
    slopes = []
    for share in (1 - 1e-9, 1 + 1e-9):
        x = torch.tensor(share, dtype=F64, requires_grad=True)
        value = budget_coef(x, 10.0, steep=True)
        assert float(value.detach()) == pytest.approx(1.0, abs=1e-7)
        slopes.append(float(torch.autograd.grad(value, x)[0]))
    assert slopes == pytest.approx([5.0, 5.0], abs=1e-6)


@pytest.mark.parametrize("share", [0.3, 1.0, 3.0, 1e4])
@pytest.mark.parametrize("steep", [True, False])
def test_gradients_of_the_budget_term_are_finite_far_from_the_target(share, steep):
    x = torch.tensor(share, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(budget_coef(x, 10.0, steep=steep), x)
    assert torch.isfinite(slope)
    assert slope >= 0


def test_the_loss_is_error_plus_weighted_cost():
    loss = Constant(target_budget=10.0, cost_coef=2.0)
    volume = with_cost(10.0)
    total = loss(pred=error(0.3), volume=volume)
    assert_close(total, torch.tensor([2.3], dtype=F64))
    assert list(loss.sub_losses) == ["error", "cost"]
    (slope,) = torch.autograd.grad(total.sum(), volume.cost)
    assert float(slope) == pytest.approx(2.0 * 10 / 2 / 10)  # coefficient x k / 2 / target


def test_d57_the_coefficient_is_the_first_error_and_stays():
    loss = Constant(target_budget=10.0)
    assert loss.cost_coef is None
    loss(error(0.3), with_cost(10.0))
    loss(error(0.7), with_cost(10.0))
    assert loss.cost_coef == pytest.approx(0.3)
    loss.cost_coef = 0.5  # what CostCoefWarmup does
    assert float(loss(error(0.0), with_cost(10.0)).detach()) == pytest.approx(0.5)


def test_d57_without_a_budget_no_coefficient_is_set():
    loss = Constant(target_budget=None)
    assert_close(loss(error(0.3), with_cost(10.0)), torch.tensor([0.3], dtype=F64))
    assert loss.cost_coef is None


def test_d57_the_coefficient_travels_with_the_state():
    first, second = Constant(target_budget=10.0), Constant(target_budget=10.0)
    first(error(0.3), with_cost(10.0))
    second.load_state_dict(first.state_dict())
    second(error(0.9), with_cost(10.0))
    assert second.cost_coef == pytest.approx(0.3)
    fresh = Constant(target_budget=10.0)
    fresh.load_state_dict(Constant(target_budget=10.0).state_dict())
    assert fresh.cost_coef is None


@pytest.mark.parametrize("name", ["target_budget", "budget_smoothing"])
def test_budgets_and_sharpness_must_be_positive(name):
    with pytest.raises(ValueError, match=name):
        Constant(**{"target_budget": 1.0, name: 0.0})


def test_debug_logs_the_terms(caplog):
    loss = Constant(target_budget=10.0, cost_coef=2.0, debug=True)
    with caplog.at_level(logging.INFO):
        loss(error(0.3), with_cost(10.0))
    assert "error 0.3" in caplog.text


def test_voxel_x0_loss_is_the_mean_square_over_voxels_of_finite_length():
    truth = torch.tensor([[[1.0, 2.0], [torch.inf, 4.0]]], dtype=F64)
    volume = FakeVolume(rad_cube=truth)
    pred = torch.tensor([[[1.5, 2.0], [7.0, 3.0]]], dtype=F64, requires_grad=True)
    value = VoxelX0Loss(target_budget=None)(pred, volume)
    assert_close(value, torch.tensor([(0.25 + 1.0) / 3], dtype=F64))
    (slope,) = torch.autograd.grad(value.sum(), pred)
    assert torch.isfinite(slope).all()


def test_volume_mse_loss_compares_one_volume_with_its_own_target():
    loss = VolumeMSELoss(target_budget=None)
    volume = FakeVolume(target=torch.tensor([0.8]))
    assert float(loss(torch.tensor([1.0], dtype=F64), volume)) == pytest.approx(0.04, rel=1e-6)
    with pytest.raises(ValueError, match="same numbers"):
        loss(torch.tensor([1.0, 2.0], dtype=F64), volume)
