import pytest
import torch
from torch.testing import assert_close

from tests.stats import assert_mean
from tests.unit.inference.fakes import F64
from tomopt_tasks.losses.spread import calibrated_mse, expected_mse, spread_over_range
from tomopt_tasks.rng import stream


def values(*numbers):
    return torch.tensor(numbers, dtype=F64)


TARGETS = values(1, 1, 2, 2, 3, 3)


def test_spread_over_range_by_hand():
    # spreads sqrt(2) * (0.5, 1, 0.5), means 1.5, 3, 4.5
    found = spread_over_range(values(1, 2, 2, 4, 4, 5), TARGETS)
    assert_close(found, values((0.5 + 1 + 0.5) / 3 * 2**0.5 / 1.5)[0])


def test_spread_over_range_does_not_see_a_straight_line():
    raw = values(1.0, 1.3, 2.2, 2.1, 2.9, 3.4)
    assert_close(spread_over_range(5 * raw - 2, TARGETS), spread_over_range(raw, TARGETS))


def test_too_few_repeats_give_no_loss():
    assert spread_over_range(values(1, 2, 3), values(1, 2, 3)) is None
    assert spread_over_range(values(1, 2), values(1, 1)) is None


def test_calibrated_error_is_what_the_best_line_leaves():
    rng = stream(51, "line")
    raw = torch.rand(20, generator=rng, dtype=F64)
    target = 2 * raw + 0.1 * torch.randn(20, generator=rng, dtype=F64)
    design = torch.stack([raw, torch.ones_like(raw)], 1)
    line = torch.linalg.lstsq(design, target[:, None]).solution[:, 0]
    assert_close(calibrated_mse(raw, target), ((design @ line - target) ** 2).mean())
    assert float(calibrated_mse(3 * raw - 1, target)) == pytest.approx(
        float(calibrated_mse(raw, target))
    )


def test_the_expected_error_is_the_mean_of_the_calibrated_one_over_many_exposures():
    rng = stream(52, "expected")
    targets = values(0.6, 0.8, 1.0, 1.2).repeat_interleave(500)
    noise = 0.1
    differences = []
    for _ in range(40):
        predictions = 0.3 + 0.5 * targets + noise * torch.randn(2000, generator=rng, dtype=F64)
        expected = expected_mse(predictions, targets, torch.full_like(targets, noise**2))
        differences.append(expected - calibrated_mse(predictions, targets))
    assert_mean(torch.stack(differences), 0.0)


def test_one_target_has_no_expected_error():
    assert expected_mse(values(1, 2), values(1, 1), values(1, 1)) is None


@pytest.mark.parametrize("loss", [spread_over_range, calibrated_mse])
def test_gradients_equal_differences(loss):
    raw = values(1.0, 1.3, 2.2, 2.1, 2.9, 3.4).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss(p, TARGETS), raw)
