"""The small-walls benchmark (spec 10.2)."""

import pytest

from tomopt_tasks.rng import stream
from tomopt_tasks.volume.benchmarks import SmallWallsPassiveGenerator
from tomopt_tasks.volume.passives import PassiveYielder
from tomopt_tasks.wrapper.small_walls import get_small_walls_volume, get_small_walls_volume_wrapper


def test_small_walls_are_surrounded_as_in_the_benchmark():
    volume = get_small_walls_volume(passive_lwh=(10, 6, 8), span=3.0)
    assert volume.shape == (8, 10, 6)
    assert [float(z) for z in volume.get_passive_z_range()] == [1.0, 9.0]
    above, below = volume.get_detectors()
    assert [float(p.z.detach()) for p in above.panels] == pytest.approx([10.0, 9.75, 9.5, 9.25])
    assert [float(p.z.detach()) for p in below.panels] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert above.panels[0].xy.detach().tolist() == [5.0, 3.0]
    assert above.panels[0].xy_span.detach().tolist() == [30.0, 18.0]
    wrapper = get_small_walls_volume_wrapper()
    assert wrapper.mu_generator.fixed_mom == 1.0
    rates = [wrapper.get_opt_lr(name) for name in ("xy_pos_opt", "z_pos_opt", "xy_span_opt")]
    assert rates == [5e4, 5e3, 1e4]


def test_walls_can_be_scanned():
    wrapper = get_small_walls_volume_wrapper()
    walls = SmallWallsPassiveGenerator(wrapper.volume, rng=stream(1, "walls"))
    (pair,) = wrapper.predict(PassiveYielder(walls, 1), 100, 100)
    assert pair[0].shape == pair[1].shape == (10, 10, 10)
