"""Numbers that the host remembers are never old ones."""

from copy import deepcopy

import pytest
import torch

from tests.unit.wrapper.common import notebook_volume
from tomopt_tasks.core import UserError
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.volume.on_host import OnHost
from tomopt_tasks.wrapper.scans import BankedPassives


def test_numbers_are_read_once_and_again_after_a_change():
    known, number = OnHost(), torch.tensor([1.0, 2.0])
    asked = []

    def read(tensor):
        return known.read([tensor], lambda: asked.append(1) or [tensor * 10])

    assert read(number) == read(number) == (10.0, 20.0)
    assert len(asked) == 1
    number[1] = 3.0
    assert read(number) == (10.0, 30.0)
    other = torch.tensor([5.0])
    assert read(other) == (50.0,)
    assert read(number) == (10.0, 30.0)
    assert len(asked) == 4


def test_bounds_follow_the_buffers_of_a_layer():
    volume = notebook_volume()
    low, high = (float(z) for z in volume.get_passive_z_range())
    assert volume.z_range == (low, high)
    twin = deepcopy(volume)
    twin.get_passives()[0].z.add_(1.0)
    assert twin.z_range == (low, high + 1.0)
    assert volume.z_range == (low, high)
    rounded = volume.float()
    assert rounded.z_range == tuple(float(z) for z in rounded.get_passive_z_range())
    layer = rounded.get_passives()[0]
    assert layer.bounds[:3] == (*layer.lw.tolist(), float(layer.z))
    assert layer.bounds.bottom == float(layer.z - layer.size)


def test_a_loaded_weight_of_the_cost_is_the_present_one():
    loss, other = VoxelX0Loss(target_budget=1.0), VoxelX0Loss(target_budget=1.0, cost_coef=3.0)
    assert loss.cost_coef is None
    loss.load_state_dict(other.state_dict())
    assert loss.cost_coef == 3.0
    loss.cost_coef = None
    assert loss.cost_coef is None


@pytest.mark.parametrize("wrong", [0.0, -1.0, torch.nan])
def test_volumes_of_a_bank_with_wrong_radiation_lengths_are_refused(wrong):
    x0 = torch.ones(3, 10, 10, 10)
    x0[2, 4, 5, 6] = wrong
    with pytest.raises(UserError, match="radiation lengths must be above 0 m"):
        BankedPassives(x0, torch.zeros(3), torch.zeros(3, 4, 9))
