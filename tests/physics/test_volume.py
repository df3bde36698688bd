"""The two fronts of the engine agree, and objects of any kind leave finite muons."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stats import assert_same_mean
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.muons.settings import Guan2015Settings, MuonSettings, Shukla2016Settings
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.families import passive_volume
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World

COMPAT = HighlandSettings(log_term="step", beta=False, displacement_sign=-1)


@pytest.mark.parametrize("model", [HighlandSettings(), COMPAT])
def test_a_notebook_volume_scatters_like_a_bank(model):
    world = World()
    x0, _ = make_scene(world, LadleFurnaceSettings(heights=(0.9,), per_height=1), 1, "train")
    source = Shukla2016Settings(momentum=1.0)
    muons = MuonSettings(source=source, per_volume=20_000)
    state, _ = transport(x0, world, muons, model, 1, "train")
    rows = state[0]
    mu = MuonBatch.from_lines(rows[:, 0:2], rows[:, 2:4], rows[:, 8], world.passive[1])
    mu.rng = stream(51, "front")
    volume = passive_volume(world)
    volume.load_rad_length(x0[0])
    for layer in volume.get_passives():
        layer.scatter_model = model
    volume(mu)
    assert len(mu) == 20_000
    kick, front_kick = rows[:, 6:8] - rows[:, 2:4], mu.tan_xy - rows[:, 2:4]
    straight = rows[:, 0:2] + 1.0 * rows[:, 2:4]
    shift, front_shift = rows[:, 4:6] - straight, mu.xy - straight
    assert_same_mean(kick.square().sum(1), front_kick.square().sum(1))
    assert_same_mean(shift.square().sum(1), front_shift.square().sum(1))
    assert_same_mean((shift * kick).sum(1), (front_shift * front_kick).sum(1))


@settings(max_examples=30)
@given(
    exponent=st.floats(-3.5, 3.0),
    spread=st.floats(0.0, 3.0),
    momentum=st.sampled_from([0.2, 1.0, 5.0, None]),
    voxel=st.sampled_from([0.05, 0.1, 0.25]),
    model=st.sampled_from([HighlandSettings(), COMPAT, HighlandSettings(log_term="none")]),
)
def test_any_object_leaves_finite_muons(exponent, spread, momentum, voxel, model):
    world = World(size=(0.5, 1.0), passive=(0.25, 0.75), voxel=voxel, height=1.0)
    noise = torch.rand(2, *world.shape, generator=stream(52), dtype=torch.float64)
    x0 = 10.0 ** (exponent + spread * (noise - 0.5))
    x0[noise > 0.95] = torch.inf
    source = Guan2015Settings(momentum=momentum, energy_range=(0.2, 100.0))
    muons = MuonSettings(source=source, per_volume=64)
    state, generated = transport(x0, world, muons, model, 1, "any")
    assert torch.isfinite(state).all()
    assert (generated >= 64).all()
    assert (state[..., 8] > 0).all()
