"""Laws of scatter models: through voxels, as banks and notebooks use them."""

from typing import get_args

import pytest
import torch

from tests.laws.parts import F64
from tomopt_tasks.materials import X0
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import HighlandSettings, ScatterSettings
from tomopt_tasks.transport.bank import COLUMNS, transport
from tomopt_tasks.transport.passive import scatter_through
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.settings import World

FAMILY = get_args(get_args(ScatterSettings)[0])
MODELS = {
    **{model.kind: model for model in (member() for member in FAMILY)},
    **{
        f"{member().kind}, energy loss": member(energy_loss=True)
        for member in FAMILY
        if "energy_loss" in member.model_fields
    },
    "highland, compat": HighlandSettings(log_term="step", beta=False, displacement_sign=-1),
    "highland, no logarithm": HighlandSettings(log_term="none"),
}
SCATTERING = {name: model for name, model in MODELS.items() if model.kind != "none"}
WORLD = World(size=(0.4, 0.5), passive=(0.2, 0.5), voxel=0.1, height=0.8)
N = 40


def objects(dtype=F64):
    """Two objects of lead, water and vacuum in air."""
    x0 = torch.full((2, *WORLD.shape), X0["air"], dtype=dtype)
    x0[:, 1, 1:3] = X0["lead"]
    x0[1, 0] = X0["water"]
    x0[0, 2, 0] = torch.inf
    return x0


def bank(model, seed=31):
    return transport(objects(), WORLD, MuonSettings(per_volume=N), model, seed, "train")[0]


def test_every_model_is_tried():
    assert {member.model_fields["kind"].default for member in FAMILY} == {
        "highland",
        "table",
        "none",
    }
    assert {model.kind for model in MODELS.values()} == {"highland", "table", "none"}


@pytest.mark.parametrize("name", MODELS)
def test_banks_have_their_shape_and_are_finite(name):
    state = bank(MODELS[name])
    assert state.shape == (2, N, len(COLUMNS))
    assert state.dtype == F64
    assert torch.isfinite(state).all()


@pytest.mark.parametrize("name", SCATTERING)
def test_equal_streams_scatter_alike_and_others_do_not(name):
    model = SCATTERING[name]
    assert torch.equal(bank(model), bank(model))
    assert not torch.equal(bank(model), bank(model, seed=32))


@pytest.mark.parametrize("name", MODELS)
def test_settings_survive_json(name):
    model = MODELS[name]
    assert type(model).model_validate_json(model.model_dump_json()) == model


def fly(model, dtype, momentum=None, x0=None, slope=None):
    """x, y and slopes behind the objects, with fixed numbers."""
    noise = torch.randn(2, 3, 4, N, generator=stream(31, "noise"), dtype=F64).to(dtype)
    u = torch.rand(4, 2, N, generator=stream(31, "lines"), dtype=F64).to(dtype)
    slope = 0.3 * (u[2:] - 0.5) if slope is None else slope
    momentum = (1.0 + 9.0 * u[0]) if momentum is None else momentum
    x0 = objects(dtype) if x0 is None else x0
    lines = (0.4 * u[0], 0.5 * u[1], slope[0], slope[1])
    return torch.stack(scatter_through(x0, 0.1, lines, momentum, noise, model))


@pytest.mark.parametrize("name", SCATTERING)
def test_single_precision_is_kept_and_scatters_nearly_the_same(name):
    single, double = (fly(SCATTERING[name], dtype) for dtype in (torch.float32, F64))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-3, atol=2e-5)


def difference(function, at, step):
    """Automatic and central-difference derivative along one direction."""
    way = torch.randn(at.shape, generator=stream(31, "way"), dtype=at.dtype)
    weight = torch.rand(4, 2, N, generator=stream(31, "weight"), dtype=at.dtype)
    leaf = at.clone().requires_grad_()
    (function(leaf) * weight).sum().backward()
    assert torch.isfinite(leaf.grad).all()
    found = float((leaf.grad * way).sum())
    up, down = ((function(at + sign * step * way) * weight).sum() for sign in (1.0, -1.0))
    return found, float(up - down) / (2 * step)


@pytest.mark.parametrize("what", ["momentum", "slope"])
@pytest.mark.parametrize("name", SCATTERING)
def test_gradients_equal_differences(name, what):
    model = SCATTERING[name]
    u = torch.rand(2, N, generator=stream(31, "momenta"), dtype=F64)
    start = {"momentum": 2.0 + 8.0 * u, "slope": 0.3 * torch.stack([u - 0.5, 0.5 - u.flip(1)])}
    found, expected = difference(lambda value: fly(model, F64, **{what: value}), start[what], 1e-7)
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", [n for n, m in SCATTERING.items() if not m.energy_loss])
def test_gradients_along_radiation_lengths_equal_differences(name):
    x0 = objects().clamp(max=1e6)
    found, expected = difference(
        lambda s: fly(SCATTERING[name], F64, x0=x0 * s.exp()), 0 * x0, 1e-6
    )
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", MODELS)
def test_a_notebook_layer_keeps_precision_and_number_of_muons(name, dtype):
    layer = PassiveLayer(
        torch.tensor([0.4, 0.5], dtype=dtype), 0.5, 0.1, scatter_model=MODELS[name]
    )
    layer.set_rad_length(objects(dtype)[0, 1])
    rows = [[0.2, 0.25, p, 0.3, 0.2] for p in (1.0, 5.0, 20.0)]
    mu = MuonBatch(torch.tensor(rows, dtype=dtype), init_z=0.6)
    mu.rng = stream(31, "layer")
    layer(mu)
    assert len(mu) == 3
    assert mu.xyz.dtype == dtype
    assert torch.isfinite(mu.xyz).all()
    torch.testing.assert_close(mu.z, torch.full((3,), 0.4, dtype=dtype))
