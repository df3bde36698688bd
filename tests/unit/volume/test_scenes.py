"""Scenes of a study: grids and targets that can be made again."""

import pytest
import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0
from tomopt_tasks.volume.benchmarks import (
    X0_WALL,
    SmallWallsPassiveGenerator,
    ULorryPassiveGenerator,
)
from tomopt_tasks.volume.blocks import VoxelPassiveGenerator
from tomopt_tasks.volume.families import draw_scenes
from tomopt_tasks.volume.grid import border_index, check_inside, voxel_indices, whole_voxels
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World

STEEL, FILL, SLAG, AIR = X0["steel"], X0["hot liquid steel"], X0["slag"], X0["air"]


def test_ladles_are_filled_to_their_label():
    scene = LadleFurnaceSettings(heights=(0.6, 1.3), per_height=3)
    x0, target = make_scene(World(), scene, 1, "train")
    assert x0.shape == (6, 10, 10, 10)
    assert target.tolist() == [0.6, 1.3] * 3
    for grid, height in zip(x0, target, strict=True):
        n_full = round((float(height) - 0.4) / 0.1)
        expected = [STEEL] + [FILL] * (n_full - 1) + [SLAG] + [AIR] * (9 - n_full)
        torch.testing.assert_close(grid[:, 4, 5], torch.tensor(expected).double())
        for ring in (grid[:, 0], grid[:, -1], grid[:, :, 0], grid[:, :, -1]):
            assert (ring == STEEL).all()


def test_scenes_are_functions_of_their_arguments():
    scene = LadleFurnaceSettings()
    first, second = (make_scene(World(), scene, 1, "train") for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_materials_and_slag_can_be_chosen():
    scene = LadleFurnaceSettings(
        heights=(0.8,), per_height=1, slag=0.2, wall_x0=0.5, fill_material="lead"
    )
    x0, _ = make_scene(World(), scene, 1, "train")
    column = x0[0, :, 5, 5].tolist()
    assert column == [0.5] + [X0["lead"]] * 3 + [SLAG] * 2 + [AIR] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heights": (0.65,)}, r"scene\.heights\[0\]: z = 0\.65 m is not on a border"),
        ({"heights": (0.6, 1.4)}, r"scene\.heights\[1\]: a ladle filled to 1\.4 m does not fit"),
        ({"heights": (0.5,)}, r"heights go from 0\.6 m"),
        ({"slag": 0.15}, r"scene\.slag: 0\.15 m is not a whole number of voxels"),
        ({"fill_material": "hot liquid stel"}, "hot liquid steel"),
    ],
)
def test_ladles_that_do_not_fit_end_in_a_sentence(settings, message):
    with pytest.raises((UserError, ValueError), match=message):
        make_scene(World(), LadleFurnaceSettings(**settings), 1, "train")


def test_random_families_are_drawn_with_a_stream_for_each_volume():
    world = World(size=(1.0, 0.8), passive=(0.55, 1.15))

    def lorry(volume, rng):
        return ULorryPassiveGenerator(volume, 0.012, rng=rng)

    x0, target = draw_scenes(world, lorry, 8, 1, "train")
    assert x0.shape == (8, *world.shape)
    assert target.shape == (8,)
    assert torch.equal((x0 == X0["uranium"]).flatten(1).sum(1), 12 * target.long())
    few, _ = draw_scenes(world, lorry, 3, 1, "train")
    assert torch.equal(few, x0[:3])
    other, _ = draw_scenes(world, lorry, 3, 1, "test")
    assert not torch.equal(few, other)


def test_targets_may_be_grids_or_nothing():
    world = World(size=(8.0, 8.0), passive=(0.0, 6.0), voxel=1.0, height=6.0)

    def walls(volume, rng):
        return SmallWallsPassiveGenerator(volume, rng=rng)

    def voxels(volume, rng):
        return VoxelPassiveGenerator(volume, rng=rng)

    x0, target = draw_scenes(world, walls, 2, 1, "train")
    assert target.shape == x0.shape
    assert torch.equal(target == 1, x0 == X0_WALL)
    assert draw_scenes(world, voxels, 2, 1, "train")[1].tolist() == [0.0, 0.0]


def test_lengths_in_whole_voxels():
    assert whole_voxels(2.1, 0.3, "x") == 7
    assert whole_voxels(0.9, 0.3, "x") == 3
    assert border_index(1.3, 0.4, 0.1, "z") == 9
    assert border_index(0.55, 0.55, 0.1, "z") == 0
    with pytest.raises(UserError, match=r"nearest ones are 0\.55 and 0\.65"):
        border_index(0.6, 0.55, 0.1, "z")
    check_inside((0, 0, 0), (2, 2, 2), (2, 2, 2), "box")
    with pytest.raises(UserError, match="box: voxels"):
        check_inside((0, 0, 1), (2, 2, 3), (2, 2, 2), "box")


def test_positions_on_borders_belong_to_the_upper_voxel_whatever_the_rounding():
    low, shape = torch.tensor([0.55], dtype=torch.float64), (30,)
    borders = 0.55 + 0.1 * torch.arange(30, dtype=torch.float64)[:, None]
    assert voxel_indices(borders, low, 0.1, shape).flatten().tolist() == list(range(30))
    single = borders.float()
    assert voxel_indices(single, low.float(), 0.1, shape).flatten().tolist() == list(range(30))
    assert voxel_indices(borders + 0.0999999, low, 0.1, shape)[-1] == 29
