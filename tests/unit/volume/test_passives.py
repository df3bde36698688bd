"""Generators of objects, and the lists that a fit scans (spec 7)."""

from math import prod

import pytest
import torch

from tests.stats import assert_counts, assert_fraction
from tests.unit.volume.stacks import F64, volume
from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0
from tomopt_tasks.rng import stream
from tomopt_tasks.volume import cubes
from tomopt_tasks.volume.benchmarks import (
    X0_SOIL,
    X0_WALL,
    LadleFurnacePassiveGenerator,
    SmallWallsPassiveGenerator,
    ULorryPassiveGenerator,
)
from tomopt_tasks.volume.blocks import (
    BlockPresentPassiveGenerator,
    RandomBlockPassiveGenerator,
    VoxelPassiveGenerator,
)
from tomopt_tasks.volume.passives import AbsPassiveGenerator, Layout, PassiveYielder

LEAD, BERYLLIUM = X0["lead"], X0["beryllium"]
AIR, IRON, URANIUM = X0["air"], X0["iron"], X0["uranium"]


def rng(*names):
    return stream(41, *names)


def cube(vol, passive):
    vol.load_rad_length(*passive)
    return vol.get_rad_cube()


GENERATORS = {
    "voxel": VoxelPassiveGenerator,
    "random block": lambda vol, rng: RandomBlockPassiveGenerator(
        vol, None, sort_x0=True, enforce_diff_mat=True, block_size_max_half=True, rng=rng
    ),
    "block present": lambda vol, rng: BlockPresentPassiveGenerator(
        vol, [0.2, 0.3, 0.4], materials=["beryllium", "lead"], rng=rng
    ),
    "ladle": LadleFurnacePassiveGenerator,
    "lorry": lambda vol, rng: ULorryPassiveGenerator(vol, 0.012, rng=rng),
    "walls": SmallWallsPassiveGenerator,
}


@pytest.mark.parametrize("name", GENERATORS)
def test_d28_a_layout_is_the_same_whenever_it_is_loaded(name):
    """D-28: voxels and lorries were drawn anew at each call of a stored function."""
    vol = volume()
    gen = GENERATORS[name](vol, rng=rng(name))
    for passive in [gen.get_data() for _ in range(5)]:
        assert torch.equal(cube(vol, passive), cube(vol, passive))


@pytest.mark.parametrize("name", GENERATORS)
def test_d48_equal_streams_draw_equal_objects(name):
    vol = volume()
    one, two, other = (GENERATORS[name](vol, rng=rng(name, k)) for k in (1, 1, 2))
    seen = [[cube(vol, gen.get_data()) for _ in range(5)] for gen in (one, two, other)]
    assert all(torch.equal(a, b) for a, b in zip(seen[0], seen[1], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(seen[0], seen[2], strict=True))


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(("low", "size", "lw"), [(0.55, 0.1, (0.6, 0.7)), (0.5, 0.3, (2.1, 2.4))])
def test_d27_generators_work_on_any_grid(name, low, size, lw):
    """D-24, D-27, D-54: bottoms off the grid, and sizes such as 0.3 m."""
    vol = volume(6, low=low, size=size, lw=lw)
    if name == "block present":
        gen = BlockPresentPassiveGenerator(vol, [size, 2 * size, 3 * size], rng=rng())
    elif name == "lorry":
        gen = ULorryPassiveGenerator(vol, 4 * size**3, rng=rng())
    else:
        gen = GENERATORS[name](vol, rng=rng())
    assert cube(vol, gen.get_data()).shape == vol.shape


def test_voxels_are_of_all_materials():
    vol = volume()
    gen = VoxelPassiveGenerator(vol, materials=["air", "iron", "lead"], rng=rng())
    values = torch.stack([cube(vol, gen.get_data()) for _ in range(10)])
    assert_counts(torch.tensor([(values == x0).sum() for x0 in (AIR, IRON, LEAD)]), torch.ones(3))
    assert gen.get_data()[1] is None
    assert len(VoxelPassiveGenerator(vol).x0s) == 23


def test_d54_a_block_has_exactly_its_voxels():
    """D-54: closed intervals of rounded heights gave a block on the grid one layer more."""
    vol = volume()
    gen = BlockPresentPassiveGenerator(
        vol, [0.2, 0.3, 0.4], materials=["beryllium", "lead"], rng=rng()
    )
    present = 0
    for _ in range(100):
        passive = gen.get_data()
        lead = cube(vol, passive) == LEAD
        assert int(lead.sum()) == (24 if passive[1].item() == LEAD else 0)
        present += passive[1].item() == LEAD
    assert_fraction(torch.arange(100) < present, 0.5)


def test_blocks_reach_every_place_and_orientation():
    vol = volume()
    gen = BlockPresentPassiveGenerator(vol, [0.1, 0.1, 0.6], materials=["lead"], rng=rng())
    sides = {tuple(s.stop - s.start for s in gen._block()) for _ in range(100)}
    assert sides == {(6, 1, 1), (1, 6, 1), (1, 1, 6)}
    ends = [gen._block() for _ in range(500)]
    assert max(x.stop for _, x, _ in ends) == max(y.stop for _, _, y in ends) == 10
    assert min(z.start for z, _, _ in ends) == min(x.start for _, x, _ in ends) == 0


def test_blocks_that_fit_in_one_orientation_only_are_turned_that_way():
    vol = volume()
    gen = BlockPresentPassiveGenerator(vol, [0.9, 0.1, 0.1], materials=["lead"], rng=rng())
    assert all(z.stop - z.start == 1 for z, _, _ in (gen._block() for _ in range(50)))


def test_d36_blocks_that_do_not_fit_are_refused():
    """D-36: indices wrapped, and 192 to 288 voxels came of one request."""
    vol = volume()
    with pytest.raises(UserError, match="in no orientation"):
        BlockPresentPassiveGenerator(vol, [0.7, 0.7, 0.7])
    with pytest.raises(UserError, match=r"block_size\[1\]: 0\.25 m is not a whole number"):
        BlockPresentPassiveGenerator(vol, [0.2, 0.25, 0.2])
    with pytest.raises(UserError, match="does not fit"):
        cubes.place((11, 1, 1), (0, 0, 0), (10, 10, 6), rng())


def test_random_blocks_sort_and_differ_as_asked():
    vol = volume()
    gen = RandomBlockPassiveGenerator(
        vol, None, sort_x0=True, enforce_diff_mat=True, block_size_max_half=True, rng=rng()
    )
    for _ in range(50):
        passive = gen.get_data()
        values = cube(vol, passive)
        block = values == passive[1].item()
        assert passive[1].item() == values.min()
        assert len(values.unique()) == 2
        assert int(block.sum()) <= 5 * 5 * 3
    with pytest.raises(ValueError, match="block_size_max_half"):
        RandomBlockPassiveGenerator(vol, None, sort_x0=True, enforce_diff_mat=True)
    with pytest.raises(ValueError, match="cannot differ"):
        RandomBlockPassiveGenerator(vol, [0.1] * 3, True, True, materials=["lead", "lead"])
    with pytest.raises(UserError, match="unobtainium"):
        VoxelPassiveGenerator(vol, materials=["unobtainium"])


def test_d41_the_target_of_a_ladle_is_the_fill_height_that_is_there():
    """D-41: the target was continuous, the layout in layers of 10 cm."""
    vol = volume(10, low=0.4)
    gen = LadleFurnacePassiveGenerator(vol, rng=rng())
    heights = set()
    for _ in range(100):
        passive = gen.get_data()
        values = cube(vol, passive)
        fill = values[:, 5, 5] == X0["hot liquid steel"]
        top = 0.4 + 0.1 * (int(fill.nonzero().max()) + 1)
        assert passive[1].item() == pytest.approx(top)
        assert (values[0] == X0["steel"]).all()
        ring = torch.cat([values[:, 0], values[:, -1], values[:, :, 0], values[:, :, -1]], 1)
        assert (ring == X0["steel"]).all()
        heights.add(round(passive[1].item(), 3))
    assert heights == {0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3}


def test_a_ladle_can_be_filled_to_order():
    vol = volume(10, low=0.4)
    gen = LadleFurnacePassiveGenerator(vol, rng=rng())
    values = cube(vol, gen._generate(fixed_mat_z=0.9, fixed_slag_z=1.05))[:, 5, 5]
    expected = [X0["steel"]] + [X0["hot liquid steel"]] * 4 + [X0["slag"]] + [AIR] * 4
    torch.testing.assert_close(values, torch.tensor(expected, dtype=F64))
    with pytest.raises(UserError, match="does not fit"):
        gen._generate(fixed_mat_z=0.9, fixed_slag_z=0.7)


def test_d41_uranium_in_a_lorry_has_exactly_its_volume_inside_the_load():
    """D-41: 8 or 10 of 12 voxels, floors overwritten, far edges never touched."""
    vol = volume()
    gen = ULorryPassiveGenerator(vol, 0.012, rng=rng())
    found, edges = [], torch.zeros(2, dtype=torch.bool)
    for _ in range(300):
        passive = gen.get_data()
        values = cube(vol, passive)
        uranium = values == URANIUM
        assert int(uranium.sum()) == 12 * passive[1].item()
        assert passive[1].dtype == torch.int64
        assert (values[0] == IRON).all()
        assert (values[5] == AIR).all()  # 0.8 of 6 layers is 5
        assert ((values == AIR) | (values == IRON) | uranium).all()
        edges |= torch.stack([uranium[:, -1].any(), uranium[..., -1].any()])
        found.append(bool(passive[1]))
    assert_fraction(torch.tensor(found), 0.5)
    assert edges.all()


def test_lorries_that_cannot_be_are_refused():
    vol = volume()
    with pytest.raises(UserError, match=r"no box of 0\.007"):
        ULorryPassiveGenerator(volume(lw=(0.5, 0.5)), 0.007)
    with pytest.raises(UserError, match="u_volume"):
        ULorryPassiveGenerator(vol, 0.0125)
    with pytest.raises(UserError, match="fill_frac"):
        ULorryPassiveGenerator(vol, 0.012, fill_frac=0.1)
    with pytest.raises(UserError, match="u_prob"):
        ULorryPassiveGenerator(vol, 0.012, u_prob=2.0)


def test_d12_walls_can_be_loaded_and_their_target_is_their_map():
    """D-12: loading a layout of walls ended in an AttributeError."""
    vol = volume(10, low=0.0, size=1.0, lw=(10.0, 10.0))
    gen = SmallWallsPassiveGenerator(vol, rng=rng())
    for _ in range(30):
        passive = gen.get_data()
        values = cube(vol, passive)
        assert torch.equal(values == X0_WALL, passive[1] == 1)
        assert torch.equal(values == X0_SOIL, passive[1] == 0)
        columns = passive[1].sum(0)
        assert columns[columns > 0].min() >= 4
        bottoms = passive[1].argmax(0)[columns > 0]
        assert len(bottoms.unique()) == 1


def test_soil_and_walls_have_the_published_radiation_lengths():
    assert pytest.approx(0.2256, abs=5e-5) == X0_SOIL
    assert pytest.approx(0.080225, abs=5e-7) == X0_WALL
    gen = SmallWallsPassiveGenerator(volume(), x0_soil=0.262425, rng=rng())
    assert gen.x0_soil == 0.262425


def test_walls_grow_longer_with_their_constants():
    def length(stop_k):
        gen = SmallWallsPassiveGenerator(
            volume(8, low=0.0, size=1.0, lw=(40.0, 40.0)), stop_k=stop_k, turn_k=100.0, rng=rng()
        )
        return sum(int(gen.get_data()[1].any(0).sum()) for _ in range(30))

    assert length(100.0) > 1.5 * length(1.0)


def test_walls_that_do_not_fit_are_refused():
    gen = SmallWallsPassiveGenerator(volume(4), min_height=4)
    with pytest.raises(UserError, match="min_height = 4"):
        gen.get_data()


def test_layouts_know_their_layers():
    layout = Layout(torch.ones(3, 2, 2), 0.55, 0.1)
    assert layout(z=0.65).shape == (2, 2)
    for z in (0.55, 0.7, 0.95):
        with pytest.raises(UserError, match="no layer of this layout"):
            layout(z=z)
    with pytest.raises(UserError, match=r"voxels of 0\.1 m"):
        layout(z=0.65, size=0.2)


def test_boxes_have_the_volume_asked_for():
    boxes = cubes.boxes_of_volume(12, (3, 4, 2))
    assert (3, 4, 1) in boxes
    assert (4, 3, 1) not in boxes
    assert all(prod(sides) == 12 for sides in boxes)


class Counting(AbsPassiveGenerator):
    """Objects that say how many came before."""

    def _generate(self):
        self.calls = getattr(self, "calls", 0) + 1
        return Layout(torch.ones(self.shape), 0.0, 1.0), self.calls


def test_a_user_provides_one_method():
    gen = Counting(volume())
    assert gen.get_data()[1] == 1
    assert isinstance(gen.generate(), Layout)
    assert gen.z_range == pytest.approx([0.2, 0.8])
    assert gen.lw.tolist() == [1.0, 1.0]
    with pytest.raises(NotImplementedError):
        AbsPassiveGenerator(volume()).generate()


def test_d31_the_list_of_the_user_is_left_alone():
    """D-31: shuffling changed the caller's list."""
    layouts = [Layout(torch.full((1, 1, 1), float(k)), 0.0, 1.0) for k in range(20)]
    mine = [(layout, k) for k, layout in enumerate(layouts)]
    before = list(mine)
    yielder = PassiveYielder(mine, rng=rng())
    first, second = ([target for _, target in yielder] for _ in range(2))
    assert mine == before
    assert first != second
    assert sorted(first) == sorted(second) == list(range(20))
    again = PassiveYielder(mine, rng=rng())
    assert [target for _, target in again] == first
    assert [target for _, target in yielder.in_order()] == list(range(20))
    assert [target for _, target in PassiveYielder(mine, shuffle=False)] == list(range(20))
    assert len(yielder) == 20


def test_lists_may_hold_bare_layouts():
    layout = Layout(torch.ones(1, 1, 1), 0.0, 1.0)
    assert list(PassiveYielder([layout])) == [(layout, None)]


def test_generators_draw_anew_in_each_epoch():
    yielder = PassiveYielder(Counting(volume()), n_passives=3)
    assert [target for _, target in yielder] == [1, 2, 3]
    assert [target for _, target in yielder.in_order()] == [4, 5, 6]
    with pytest.raises(ValueError, match="needs the number of draws"):
        PassiveYielder(Counting(volume()))
