"""Families that a study names by kind: grids with the right material, functions of their names."""

from typing import get_args

import pytest
import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0
from tomopt_tasks.volume.benchmarks import X0_SOIL, X0_WALL
from tomopt_tasks.volume.scene_settings import (
    BlockPresentSettings,
    Box,
    BoxesSettings,
    FileSceneSettings,
    LeadInBerylliumSettings,
    OwnSceneSettings,
    RandomBlockSettings,
    SceneSettings,
    SmallWallsSettings,
    ULorrySettings,
    VoxelSettings,
)
from tomopt_tasks.volume.scenes import MAKERS, make_scene
from tomopt_tasks.volume.settings import World

WORLD = World()
SMALL = World(size=(1.0, 1.0), passive=(0.2, 0.8), voxel=0.1, height=1.0)
ALL = get_args(get_args(SceneSettings)[0])
FAMILIES = [family for family in ALL if family not in (FileSceneSettings, OwnSceneSettings)]
"""Those that need nothing of the user's."""


def draw(scene, seed=1, split="train", world=WORLD):
    return make_scene(world, scene, seed, split)


def test_every_kind_of_scene_has_a_maker():
    assert {family.model_fields["kind"].default for family in ALL} == set(MAKERS)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_makes_grids_that_can_be_made_again(family):
    scene = family()
    x0, target = draw(scene)
    again, target_again = draw(scene)
    assert torch.equal(x0, again)
    assert torch.equal(target, target_again)
    assert x0.shape == (scene.n_volumes, *WORLD.shape)
    assert len(target) == scene.n_volumes
    assert torch.isfinite(x0).all()
    assert (x0 > 0).all()


@pytest.mark.parametrize(
    "family",
    [VoxelSettings, RandomBlockSettings, BlockPresentSettings, ULorrySettings, SmallWallsSettings],
)
def test_random_families_differ_by_seed_split_and_number(family):
    scene = family(volumes=4)
    x0, _ = draw(scene)
    assert not torch.equal(x0, draw(scene, seed=2)[0])
    assert not torch.equal(x0, draw(scene, split="test")[0])
    assert not torch.equal(x0[0], x0[1])


def test_more_volumes_begin_with_the_same_ones():
    few, many = (draw(RandomBlockSettings(volumes=n))[0] for n in (3, 5))
    assert torch.equal(few, many[:3])


def test_lead_lies_in_beryllium_where_the_benchmark_has_it():
    x0, _ = draw(LeadInBerylliumSettings(volumes=2), world=SMALL)
    expected = torch.full((6, 10, 10), X0["beryllium"], dtype=torch.float64)
    expected[2:4, 5:, 5:] = X0["lead"]  # z 0.4 to 0.6 m, x and y from 0.5 m
    assert torch.equal(x0[0], expected)
    assert torch.equal(x0[1], expected)


def test_later_boxes_replace_earlier_ones():
    iron = Box(low=(0.0, 0.0, 0.4), high=(0.2, 0.1, 0.5), material="iron")
    lead = Box(low=(0.1, 0.0, 0.4), high=(0.2, 0.1, 0.6), material="lead")
    x0, _ = draw(BoxesSettings(volumes=1, boxes=(iron, lead)))
    assert x0[0, 0, 0, 0] == X0["iron"]
    assert x0[0, 0, 1, 0] == x0[0, 1, 1, 0] == X0["lead"]
    assert (x0[0] == X0["air"]).sum() == 1000 - 3


def test_targets_of_lorries_say_whether_there_is_uranium():
    x0, target = draw(ULorrySettings(volumes=30))
    amount = (x0 == X0["uranium"]).flatten(1).sum(1)
    assert target.shape == (30,)
    assert torch.equal(amount, 12 * target.long())
    assert 0 < target.sum() < 30


def test_targets_of_blocks_are_their_radiation_lengths():
    x0, target = draw(RandomBlockSettings(volumes=10, block=(0.3, 0.2, 0.2)))
    assert ((x0 == target[:, None, None, None]).flatten(1).sum(1) == 12).all()


def test_walls_are_brick_in_soil():
    x0, target = draw(SmallWallsSettings(volumes=3))
    assert torch.equal(x0 == X0_WALL, target == 1)
    assert torch.equal(x0 == X0_SOIL, target == 0)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (BoxesSettings(boxes=(Box(low=(0, 0, 0.3), high=(1, 1, 0.5)),)), r"boxes\[0\]: z = 0\.3 m"),
        (LeadInBerylliumSettings(high=(1.0, 1.2, 0.6)), "do not lie inside the grid"),
        (ULorrySettings(uranium=0.0125), r"u_volume / voxel\^2: .* is not a whole number of vox"),
        (RandomBlockSettings(block=(2.0, 0.1, 0.1)), "fits into the volume .* in no orientation"),
    ],
)
def test_objects_that_do_not_fit_end_in_a_sentence(scene, message):
    with pytest.raises(UserError, match=message):
        draw(scene)
