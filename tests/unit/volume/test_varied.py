"""Ladles that differ: the right amount of each material at any height, slag and wall."""

import pytest
import torch

from tomopt_tasks.materials import X0
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, LadleVariation, World
from tomopt_tasks.volume.varied import filled, ladle_grid

WORLD = World()


def scene(vary, **settings):
    return LadleFurnaceSettings(vary=LadleVariation(**vary), **settings)


@pytest.mark.parametrize("height", [0.6, 0.9, 1.3])
def test_on_voxel_borders_it_is_the_ladle_of_the_benchmark(height):
    plain = LadleFurnaceSettings(heights=(height,), per_height=1)
    expected, _ = make_scene(WORLD, plain, 1, "train")
    grid = ladle_grid(WORLD, plain, (height, 0.1, 0.1))
    torch.testing.assert_close(grid, expected[0], rtol=1e-10, atol=0.0)  # rounding: air is thin


def test_a_voxel_with_two_materials_has_the_mean_inverse_radiation_length():
    grid = ladle_grid(WORLD, LadleFurnaceSettings(), (0.93, 0.1, 0.1))
    # layer 5 is z 0.9 to 1.0: 3 cm of bath, 7 cm of slag; layer 6 has 3 cm of slag
    assert float(1 / grid[5, 5, 5]) == pytest.approx(
        0.3 / X0["hot liquid steel"] + 0.7 / X0["slag"]
    )
    assert float(1 / grid[6, 5, 5]) == pytest.approx(0.3 / X0["slag"] + 0.7 / X0["air"])


def test_a_thin_wall_leaves_bath_in_the_outer_voxels():
    grid = ladle_grid(WORLD, LadleFurnaceSettings(), (0.9, 0.1, 0.06))
    bath, steel = 1 / X0["hot liquid steel"], 1 / X0["steel"]
    assert float(1 / grid[3, 0, 5]) == pytest.approx(0.4 * bath + 0.6 * steel)
    assert float(1 / grid[3, 0, 0]) == pytest.approx(0.16 * bath + 0.84 * steel)
    assert float(1 / grid[0, 5, 5]) == pytest.approx(0.4 * bath + 0.6 * steel)


def test_no_material_is_lost_whatever_the_lengths():
    height, slag, wall = 0.873, 0.134, 0.117
    inverse = (1 / ladle_grid(WORLD, LadleFurnaceSettings(), (height, slag, wall))).sum() * 1e-3
    inner = (1 - 2 * wall) ** 2
    parts = {
        "hot liquid steel": inner * (height - 0.4 - wall),
        "slag": inner * slag,
        "air": inner * (1.4 - height - slag),
    }
    parts["steel"] = 1.0 - sum(parts.values())
    assert float(inverse) == pytest.approx(sum(part / X0[name] for name, part in parts.items()))


def test_heights_are_spread_evenly_over_their_range_and_are_the_target():
    family = scene({"slag": (0.05, 0.15)}, heights=(0.6, 1.25), per_height=50)
    x0, target = make_scene(WORLD, family, 1, "test")
    assert x0.shape == (100, 10, 10, 10)
    assert torch.isfinite(x0).all()
    parts = ((target - 0.6) / 0.65 * 100).floor()
    assert parts.tolist() == list(range(100))  # one in each hundredth of the range


def test_heights_may_stay_in_steps_while_slag_and_wall_vary():
    family = scene({"heights": False, "slag": (0.05, 0.1), "wall": (0.07, 0.13)}, per_height=2)
    x0, target = make_scene(WORLD, family, 1, "train")
    assert target.tolist() == list(family.heights) * 2
    assert not torch.equal(x0[0], x0[8])


def test_ladles_are_functions_of_seed_split_and_number():
    family = scene({}, heights=(0.6, 1.3), per_height=4)
    first, second = (make_scene(WORLD, family, 1, "train")[1] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, make_scene(WORLD, family, 2, "train")[1])
    assert not torch.equal(first, make_scene(WORLD, family, 1, "test")[1])


def test_shares_of_cells():
    assert filled(4, 1.0, 0.5, (1.25, 2.1)).tolist() == pytest.approx([0.5, 1.0, 0.2, 0.0])
