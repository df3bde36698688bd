"""Laws of the families of objects that a study names by kind."""

from typing import get_args

import numpy as np
import pytest
import torch

from tomopt_tasks.materials import X0
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.scene_settings import FileSceneSettings, SceneSettings
from tomopt_tasks.volume.scenes import MAKERS, make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, LadleVariation, World

FAMILY = get_args(get_args(SceneSettings)[0])
KINDS = sorted({member.model_fields["kind"].default for member in FAMILY} - {"own"})
"""Those of the user's own are in tests/pipeline/test_own_families.py."""
WORLDS = {
    "one metre": World(),
    "oblong, off the grid": World(size=(1.2, 1.0), passive=(0.25, 1.25), voxel=0.1, height=1.6),
    "voxels of 20 cm": World(size=(1.0, 1.0), passive=(0.4, 1.4), voxel=0.2, height=1.8),
}


@pytest.fixture
def scene_of(tmp_path):
    """Settings of a kind that fit into a world."""

    def build(kind, world):
        low = world.passive[0]
        if kind == "file":
            x0 = torch.rand(3, *world.shape, generator=stream(31, "file"), dtype=torch.float64)
            np.savez(tmp_path / "own.npz", x0=(0.01 + x0).numpy(), target=np.arange(3.0))
            return FileSceneSettings(file=str(tmp_path / "own.npz"), volumes=3)
        member = next(m for m in FAMILY if m.model_fields["kind"].default == kind)
        box = {"low": (0.2, 0.4, low), "high": (0.6, 0.8, low + 0.4)}
        special = {
            "ladle_furnace": {"heights": (low + 0.4, low + 0.6), "slag": 0.2, "per_height": 2},
            "boxes": {"volumes": 3, "boxes": (box,)},
            "lead_in_beryllium": {"volumes": 3, **box},
            "u_lorry": {"volumes": 3, "uranium": 0.016},
        }
        return member.model_validate(special.get(kind, {"volumes": 3}))

    return build


def test_every_kind_has_a_maker_and_is_tried():
    assert {*KINDS, "own"} == {*MAKERS, "own"}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("kind", KINDS)
def test_grids_are_those_of_the_world_and_can_be_made_again(kind, world, scene_of):
    scene = scene_of(kind, WORLDS[world])
    x0, target = make_scene(WORLDS[world], scene, 31, "train")
    assert x0.shape == (scene.n_volumes, *WORLDS[world].shape)
    assert x0.dtype == target.dtype == torch.float64
    assert len(target) == scene.n_volumes
    assert (x0 > 0).all()
    assert torch.isfinite(target).all()
    again, target_again = make_scene(WORLDS[world], scene, 31, "train")
    assert torch.equal(x0, again)
    assert torch.equal(target, target_again)


@pytest.mark.parametrize("kind", KINDS)
def test_settings_survive_json(kind, scene_of):
    scene = scene_of(kind, World())
    assert type(scene).model_validate_json(scene.model_dump_json()) == scene


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"file", "ladle_furnace", "boxes"}))
def test_voxels_are_of_materials_of_the_table(kind, scene_of):
    if kind == "small_walls":
        pytest.skip("soil and brick are mixtures")
    x0, _ = make_scene(World(), scene_of(kind, World()), 31, "train")
    known = torch.tensor(sorted(X0.values()), dtype=torch.float64)
    assert torch.isin(x0, known).all()


@pytest.mark.parametrize("kind", ["ladle_furnace"])
def test_volumes_of_families_that_vary_have_streams_of_their_own(kind):
    vary = LadleVariation(wall=(0.05, 0.15), slag=(0.05, 0.2))
    scene = LadleFurnaceSettings(heights=(0.7, 1.1), per_height=2, vary=vary)
    x0, _ = make_scene(World(), scene, 31, "train")
    assert not torch.equal(x0, make_scene(World(), scene, 32, "train")[0])
    assert not torch.equal(x0, make_scene(World(), scene, 31, "test")[0])
    assert len({x0[i].sum().item() for i in range(4)}) == 4
