"""Random cargo and what hides in it."""

import pytest
import torch

from tests.stats import assert_fraction
from tests.unit.volume.stacks import volume
from tomopt_tasks.core import UserError
from tomopt_tasks.materials import X0
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.cargo import GOODS, THREATS, RandomCargoPassiveGenerator

AIR, STEEL = X0["air"], X0["steel"]
THREAT_X0S = torch.tensor([X0[name] for name in THREATS], dtype=torch.float64)


def draw(n, **settings):
    """Cubes and targets of n cargoes."""
    vol = volume()
    generator = RandomCargoPassiveGenerator(vol, rng=stream(1, "cargo"), **settings)
    drawn = []
    for _ in range(n):
        vol.load_rad_length(*generator.get_data())
        drawn.append((vol.get_rad_cube().clone(), int(vol.target)))
    return drawn


@pytest.mark.parametrize("kind", ["simple", "medium", "complex"])
def test_the_target_says_whether_a_threat_is_in_the_cargo(kind):
    drawn = draw(60, kind=kind)
    for cube, target in drawn:
        assert bool(torch.isin(cube, THREAT_X0S).any()) == bool(target)
    assert_fraction([target for _, target in drawn], 0.5)
    assert all(target == 0 for _, target in draw(20, kind=kind, threat_prob=0.0))


def test_a_simple_cargo_is_one_box_in_air():
    for cube, _ in draw(30, threat_prob=0.0):
        goods = (cube != AIR).nonzero()
        low, high = goods.min(0).values, goods.max(0).values + 1
        assert len(goods) == int((high - low).prod())
        assert (high - low <= torch.tensor([3, 5, 5])).all()
        assert len(cube[cube != AIR].unique()) == 1


def test_a_complex_cargo_stands_in_a_frame_that_nothing_breaks():
    for cube, _ in draw(30, kind="complex"):
        ring = torch.ones(cube.shape[1:], dtype=torch.bool)
        ring[1:-1, 1:-1] = False
        assert (cube[0] == STEEL).all()
        assert (cube[:, ring] == STEEL).all()
        assert (cube[1:, ~ring] != STEEL).all()


def test_all_goods_are_drawn_and_more_blocks_fill_more():
    known = {X0[name] for name in GOODS}
    filled = {}
    for kind in ("simple", "medium"):
        cubes = [cube for cube, _ in draw(80, kind=kind, threat_prob=0.0)]
        values = {float(v) for cube in cubes for v in cube.unique()} - {AIR}
        assert values == known
        filled[kind] = sum(float((cube != AIR).double().mean()) for cube in cubes)
    assert filled["medium"] > 2 * filled["simple"]


def test_cargoes_that_cannot_be_are_refused():
    vol = volume()
    for wrong, message in (
        ({"kind": "huge"}, "simple, medium, complex"),
        ({"threat_prob": 1.5}, "threat_prob"),
        ({"max_side": 0.0}, "max_side"),
    ):
        with pytest.raises(UserError, match=message):
            RandomCargoPassiveGenerator(vol, **wrong)
