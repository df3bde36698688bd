"""Mirror images of banked muons belong to the mirror image of the volume."""

import pytest
import torch

from tests.unit.wrapper.common import passives
from tomopt_tasks.core import UserError
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, LadleVariation, World
from tomopt_tasks.wrapper.scans import BankedPassives, mirrored, turn_of


def test_volumes_take_the_four_images_in_turn():
    bank = passives()
    image = mirrored(bank, 0, (1.0, 1.0))
    assert torch.equal(image.state[0], bank.state[0])
    assert torch.equal(image.state[1, :, 0], 1.0 - bank.state[1, :, 0])
    assert torch.equal(image.state[1, :, 2], -bank.state[1, :, 2])
    assert torch.equal(image.state[1, :, 1], bank.state[1, :, 1])
    assert torch.equal(image.state[2, :, 5], 1.0 - bank.state[2, :, 5])
    assert torch.equal(image.state[2, :, 4], bank.state[2, :, 4])
    assert torch.equal(image.state[3, :, 6:8], -bank.state[3, :, 6:8])
    assert torch.equal(image.state[..., 8], bank.state[..., 8])


def test_the_next_turn_takes_the_next_image():
    bank = passives()
    later = mirrored(bank, 1, (1.0, 1.0))
    assert torch.equal(later.state[3], bank.state[3])
    assert not torch.equal(later.state[0], bank.state[0])


def test_twice_the_same_image_is_the_bank_again():
    bank = passives()
    again = mirrored(mirrored(bank, 2, (1.0, 1.0)), 2, (1.0, 1.0))
    torch.testing.assert_close(again.state, bank.state, rtol=0, atol=1e-15)


def test_volumes_without_the_symmetry_are_refused():
    bank = passives()
    x0 = bank.x0.clone()
    x0[0, 3, 2, 5] *= 2
    with pytest.raises(UserError, match="not their own mirror images"):
        mirrored(BankedPassives(x0, bank.target, bank.state), 0, (1.0, 1.0))


def test_ladles_whose_walls_end_inside_voxels_are_their_own_images_but_for_rounding():
    vary = LadleVariation(heights=True, slag=(0.05, 0.15), wall=(0.07, 0.13))
    heights = (0.6, 0.8, 1.0, 1.2)
    scene = LadleFurnaceSettings(heights=heights, per_height=1, vary=vary)
    x0, target = make_scene(World(), scene, 1, "train")
    assert not torch.equal(x0, x0.flip(2))
    bank = BankedPassives(x0, target, passives().state[:1].expand(4, -1, -1))
    assert torch.equal(mirrored(bank, 0, (1.0, 1.0)).state[0], bank.state[0])


@pytest.mark.parametrize("n_exposures", range(1, 17))
def test_every_exposure_is_seen_in_all_four_images_however_many_take_turns(n_exposures):
    for exposure in range(n_exposures):
        epochs = range(exposure, 1024 * n_exposures, n_exposures)
        assert {turn_of(epoch) for epoch in epochs} == {0, 1, 2, 3}


def test_four_exposures_are_seen_in_all_images_within_sixteen_epochs():
    seen = {(epoch % 4, turn_of(epoch)) for epoch in range(16)}
    assert len(seen) == 16
