"""Energy loss on the way through voxels: against one material at once, tables, and what stops."""

from math import sqrt

import pytest
import torch

from tests.stats import assert_rms
from tomopt_tasks.core import UserError
from tomopt_tasks.materials import MATERIALS
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.muons.settings import MuonSettings, Shukla2016Settings
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.highland import highland_angle
from tomopt_tasks.scattering.losses import Losses, kinetic_behind, loss_grids, momentum_of
from tomopt_tasks.scattering.settings import HighlandSettings, TableScatterSettings
from tomopt_tasks.scattering.stopping import (
    LEAST_ENERGY,
    find_stopping_power,
    kinetic_energy,
    momentum_behind,
)
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.transport.passive import scatter_through
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.slowing import OUT_OF_REACH
from tomopt_tasks.volume.volume import Volume

F64 = torch.float64
SLOW = HighlandSettings(energy_loss=True)
MODELS = (SLOW, TableScatterSettings(energy_loss=True))
WORLD = World(size=(1.0, 1.0), passive=(0.2, 0.8), voxel=0.1, height=1.0)


def grid(name, *shape):
    return torch.full((1, 6, 10, 10), MATERIALS[name].x0, dtype=F64)


def test_every_material_of_the_table_has_a_loss_and_an_own_radiation_length():
    x0 = torch.tensor([material.x0 for material in MATERIALS.values()], dtype=F64)
    for relative in (1.0, 1 + 3e-7):  # single precision
        losses = loss_grids(x0 * relative)
        for i, name in enumerate(MATERIALS):
            if name in ("beryllium", "lead", "water", "UO2"):
                assert losses.one[i] == find_stopping_power(name).one
        per_mass = losses.one * 1e4 / torch.tensor([m.density for m in MATERIALS.values()])
        assert ((per_mass > 1.2) & (per_mass < 2.3)).all()  # MeV cm2/g
        assert (losses.ten > losses.one).all()
        assert (losses.one > losses.minimum).all()


def test_vacuum_costs_nothing_and_unknown_matter_is_refused():
    x0 = torch.tensor([torch.inf, 0.005612], dtype=F64)
    losses = loss_grids(x0)
    assert losses.minimum[0] == losses.one[0] == losses.ten[0] == 0
    with pytest.raises(UserError, match=r"X0 = 0\.0176 m is that of no material .* is iron"):
        loss_grids(torch.tensor([0.0176], dtype=F64))


@pytest.mark.parametrize("name", ["iron", "water", "lead"])
def test_slanted_muons_lose_what_the_material_takes_from_their_path(name):
    """Layer by layer in a stack against the whole path at once; 0.2 % from the steps."""
    mu = MuonBatch(torch.tensor([[0.5, 0.5, p, 0.5, 0.3] for p in (2.0, 5.0, 50.0)], dtype=F64), 1)
    lw = torch.tensor([1.0, 1.0], dtype=F64)
    model = SLOW.model_copy(update={"log_term": "none"})
    layers = [PassiveLayer(lw, 0.6 - 0.05 * k, 0.05, scatter_model=model) for k in range(4)]
    volume = Volume(layers)
    volume.load_rad_length(torch.full((4, 20, 20), MATERIALS[name].x0, dtype=F64))
    mu.rng = stream(13, name)
    # straight, so that the path is known
    mu.draw_normal = lambda *shape: torch.zeros(*shape, dtype=F64)
    volume(mu)
    path = torch.full((3,), 0.2 / float(torch.cos(torch.tensor(0.5))), dtype=F64)
    expected = momentum_behind(mu.mom, path, find_stopping_power(name), 200)
    torch.testing.assert_close(momentum_of(mu.kinetic), expected, rtol=2e-3, atol=0)
    assert torch.equal(mu.mom, torch.tensor([2.0, 5.0, 50.0], dtype=F64))  # that before


def out_of(name, model, momentum, n=40_000):
    x0, start = grid(name), torch.full((1, n), 0.5, dtype=F64)
    noise = torch.randn(1, 6, 4, n, generator=stream(13, name), dtype=F64)
    momenta = torch.full_like(start, momentum)
    return scatter_through(x0, 0.1, (start, start, 0 * start, 0 * start), momenta, noise, model)


def test_slower_muons_scatter_more_by_the_integral_of_one_over_p_beta_squared():
    """60 cm of water at 0.6 GeV: the width of the mean of ``1 / (p beta)^2`` along the path."""
    plain = HighlandSettings(log_term="none", energy_loss=True)
    _, _, tan_x, tan_y = out_of("water", plain, 0.6)
    path = torch.linspace(0, 0.6, 401, dtype=F64)
    p = momentum_behind(torch.full_like(path, 0.6), path, find_stopping_power("water"), 200)
    unit = highland_angle(p, torch.ones_like(p)).square()  # at one radiation length
    unit = unit / (1 - 0.038 * (p**2 / (p**2 + 0.1056583755**2)).log()).square()
    thickness = 0.6 / MATERIALS["water"].x0
    expected = sqrt(float(torch.trapezoid(unit, path)) / 0.6 * thickness)
    # beta at the mean momentum of a layer: 0.1 %
    assert_rms(torch.cat([tan_x, tan_y]).atan() / expected, 1.0)
    fast = highland_angle(torch.tensor(0.6), torch.tensor(1.0)).item() * sqrt(thickness)
    assert expected > 1.1 * fast


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.kind)
def test_fast_muons_scatter_as_without_loss(model):
    lossless = model.model_copy(update={"energy_loss": False})
    with_loss, without = (out_of("water", m, 1000.0, 100) for m in (model, lossless))
    for slow, fast in zip(with_loss[2:], without[2:], strict=True):
        torch.testing.assert_close(slow, fast, rtol=1e-3, atol=5e-8)  # of 2e-5
    assert not torch.equal(with_loss[2], without[2])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.kind)
def test_muons_stop_where_their_range_ends_and_are_seen_by_no_panel(model):
    """60 cm of iron: 472 g/cm2, the range of about 0.75 GeV."""
    x, y, *slopes = out_of("iron", model, 0.5, 200)
    assert (x == OUT_OF_REACH).all()
    assert (y == OUT_OF_REACH).all()
    assert torch.isfinite(torch.stack(slopes)).all()
    x, _, *_ = out_of("iron", model, 1.5, 200)
    assert (x.abs() < 10).all()
    for momentum, survives in ((0.70, False), (0.95, True)):
        p = torch.tensor([momentum], dtype=F64)
        behind = momentum_behind(p, torch.tensor([0.6], dtype=F64), find_stopping_power("iron"), 64)
        assert (kinetic_energy(behind) > 2 * LEAST_ENERGY).item() == survives
        straight = model.model_copy(update={"energy_loss": True})
        found = (out_of("iron", straight, momentum, 50)[0] == OUT_OF_REACH).double().mean()
        assert found.item() == pytest.approx(0.0 if survives else 1.0, abs=0.1)


def test_the_notebook_removes_muons_that_stop():
    mu = MuonBatch(torch.tensor([[0.5, 0.5, p, 0, 0] for p in (0.2, 5.0)], dtype=F64), init_z=1)
    layer = PassiveLayer(torch.tensor([1.0, 1.0], dtype=F64), 1.0, 0.5, scatter_model=SLOW)
    layer.set_rad_length(torch.full((2, 2), MATERIALS["lead"].x0, dtype=F64))
    layer(mu)
    assert mu.mom.tolist() == [5.0]
    assert mu.kinetic.shape == (1,)


def test_a_bank_keeps_its_shape_and_the_momentum_before_the_volume():
    muons = MuonSettings(source=Shukla2016Settings(momentum=None), per_volume=400)
    state, _ = transport(grid("iron"), WORLD, muons, SLOW, 5, "train")
    plain, _ = transport(grid("iron"), WORLD, muons, HighlandSettings(), 5, "train")
    assert torch.isfinite(state).all()
    assert torch.equal(state[..., 8], plain[..., 8])
    stopped = state[..., 4] == OUT_OF_REACH
    assert 0.05 < stopped.double().mean() < 0.5
    assert (state[..., 8][stopped] < 3).all()
    assert (plain[..., 4] != OUT_OF_REACH).all()


def test_gradients_along_the_energy_equal_finite_differences():
    kinetic = torch.tensor([0.2, 0.5, 2.0, 9.0, 30.0], dtype=F64, requires_grad=True)
    losses = Losses(*(torch.full((5,), loss, dtype=F64) for loss in (0.12, 0.14, 0.18)))
    assert torch.autograd.gradcheck(
        lambda energy: momentum_of(kinetic_behind(energy, losses)), (kinetic,), eps=1e-7, atol=1e-5
    )
