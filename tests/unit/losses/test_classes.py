import math

import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64, FakeVolume
from tomopt_tasks.losses import (
    LadleFurnaceIntClassLoss,
    VolumeClassLoss,
    VolumeIntClassLoss,
    VoxelClassLoss,
    integer_class_loss,
)

PROBS = torch.softmax(torch.tensor([1.0, 3, 10, 5, 5, 3, 1], dtype=F64), 0)


@pytest.mark.parametrize(("use_mse", "expected"), [(True, 0.03573918), (False, 0.08297060)])
def test_golden_values_of_the_integer_loss(use_mse, expected):
    found = integer_class_loss(PROBS[None], torch.tensor([3]), 0, use_mse)
    assert float(found) == pytest.approx(expected, abs=1e-8)


def test_d40_each_element_of_a_batch_has_its_own_target():
    batch = torch.stack([PROBS, PROBS.flip(0), torch.full((7,), 1 / 7, dtype=F64)])
    targets = torch.tensor([3, 0, 6])
    alone = [
        integer_class_loss(p[None], t[None], 0, True) for p, t in zip(batch, targets, strict=True)
    ]
    together = integer_class_loss(batch, targets, 0, True, reduction="none")
    assert together.shape == (3, 1)
    assert_close(together[:, 0], torch.stack(alone))
    assert_close(integer_class_loss(batch, targets, 0, True), torch.stack(alone).mean())


def test_d40_weights_belong_to_elements_of_the_batch():
    batch = torch.stack([PROBS, PROBS.flip(0)])
    targets, weight = torch.tensor([3, 0]), torch.tensor([2.0, 0.0], dtype=F64)
    each = integer_class_loss(batch, targets, 0, False, reduction="none")
    total = integer_class_loss(batch, targets, 0, False, weight=weight, reduction="sum")
    assert_close(total, 2.0 * each[0, 0])


def test_integers_start_where_they_are_told_to():
    shifted = integer_class_loss(PROBS[None], torch.tensor([13]), 10, True)
    assert_close(shifted, integer_class_loss(PROBS[None], torch.tensor([3]), 0, True))


def test_a_single_class_costs_nothing():
    one = torch.ones(2, 1, dtype=F64, requires_grad=True)
    found = integer_class_loss(one, torch.tensor([4, 4]), 4, True)
    assert float(found.detach()) == 0.0
    (slope,) = torch.autograd.grad(found, one)
    assert torch.isfinite(slope).all()


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="median"):
        integer_class_loss(PROBS[None], torch.tensor([3]), 0, True, reduction="median")


def test_d26_ids_that_look_like_radiation_lengths_are_not_mapped_twice():
    # 0.0 -> class 1 and 1.0 -> class 0: one after the other on one array both become 0
    truth = torch.tensor([[[0.0, 1.0]]], dtype=F64)
    probs = torch.tensor([[0.1, 0.9], [0.8, 0.2]], dtype=F64)  # of each voxel
    loss = VoxelClassLoss(x02id={0.0: 1, 1.0: 0}, target_budget=None)
    found = loss(probs.log().T[None], FakeVolume(rad_cube=truth))
    assert float(found) == pytest.approx(-(math.log(0.9) + math.log(0.8)) / 2)


def test_the_class_of_a_volume_is_scored_by_log_likelihood_or_cross_entropy():
    x02id = {0.0176: 0, 0.0056: 1}
    volume = FakeVolume(target=torch.tensor([0.0057]))
    many = VolumeClassLoss(x02id=x02id, target_budget=None)
    log_probs = torch.tensor([[0.3, 0.7]], dtype=F64).log()
    assert float(many(log_probs, volume)) == pytest.approx(-math.log(0.7))
    assert float(many(torch.tensor([[0.7]], dtype=F64), volume)) == pytest.approx(-math.log(0.7))


def test_the_integer_of_a_volume_comes_from_its_target():
    loss = VolumeIntClassLoss(
        targ2int=lambda target, volume: torch.round(target / volume.passive_size).long(),
        pred_int_start=2,
        use_mse=True,
        target_budget=None,
    )
    volume = FakeVolume(target=torch.tensor([0.5]))
    expected = integer_class_loss(PROBS[None], torch.tensor([3]), 0, True)
    assert_close(loss(PROBS[None], volume), expected[None])
    assert_close(volume.target, torch.tensor([0.5]))


@pytest.mark.parametrize("n_full", range(1, 9))
def test_levels_on_a_border_of_voxels_belong_to_the_layer_below_it(n_full):
    # 0.4 + 0.1 n in float32 is often a little below the border; n full layers, the floor included
    volume = FakeVolume(n_layers=10, z_low=0.4, target=torch.tensor([0.4 + 0.1 * n_full]))
    loss = LadleFurnaceIntClassLoss(use_mse=False, target_budget=None)
    sure = torch.zeros(1, 9, dtype=F64)
    sure[0, n_full - 1] = 1.0
    assert float(loss(sure, volume)) == 0.0
