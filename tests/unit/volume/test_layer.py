"""Layers of the notebook interface (spec 3.1, 3.2)."""

from math import sqrt

import pytest
import torch

from tests.stats import assert_correlation, assert_rms
from tests.unit.volume.stacks import F64, passives, uniform
from tomopt_tasks.core import UserError
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.highland import highland_angle
from tomopt_tasks.scattering.settings import HighlandSettings, NoScatterSettings
from tomopt_tasks.volume.layer import AbsLayer, PassiveLayer

N = 50_000


def beam(n=N, *, theta=0.0, phi=0.0, x=0.55, z=1.0, momentum=5.0, name="beam"):
    rows = torch.tensor([[x, 0.55, momentum, theta, phi]], dtype=F64).repeat(n, 1)
    mu = MuonBatch(rows, z)
    mu.rng = stream(31, name)
    return mu


def test_geometry_moves_with_the_layer_and_stays_out_of_checkpoints():
    """D-33: layers kept their geometry in plain attributes."""
    layer = passives(1, x0=0.0176)[0]
    assert set(dict(layer.named_buffers())) == {"lw", "z", "rad_length"}
    assert layer.state_dict() == {}
    layer.to(torch.float32)
    assert layer.lw.dtype == layer.z.dtype == layer.rad_length.dtype == torch.float32
    lw, z, size = layer.get_lw_z_size()
    assert lw.tolist() == [1.0, 1.0]
    assert z.shape == (1,)
    assert size == 0.1
    meta = layer.to("meta")
    assert meta.device.type == "meta"


def test_an_abstract_layer_cannot_be_crossed():
    with pytest.raises(NotImplementedError):
        AbsLayer([1.0, 1.0], 1.0, 0.1)(beam(1))


def test_layouts_are_called_with_the_place_of_the_layer():
    seen = {}

    def rad_length(*, z, lw, size):
        seen.update(z=z, lw=lw, size=size)
        return torch.ones(10, 10)

    layer = PassiveLayer(torch.tensor([1.0, 1.0], dtype=F64), 0.3, 0.1)
    layer.load_rad_length(rad_length)
    assert seen["z"].shape == (1,)
    assert seen["size"] == 0.1
    assert layer.rad_length.dtype == F64


def test_d27_sizes_that_do_not_fill_the_width_are_refused():
    """D-27: 0.9 / 0.3 was truncated to 2 voxels."""
    assert passives(1, size=0.3, lw=(0.9, 2.1))[0].shape == (3, 7)
    with pytest.raises(UserError, match=r"lw: 1 m is not a whole number of voxels of 0\.3 m"):
        passives(1, size=0.3)


@pytest.mark.parametrize("size", [0.01])
@pytest.mark.parametrize("width", [0.05, 0.09, 0.10, 0.17, 0.20, 0.25])
def test_d59_the_last_position_inside_belongs_to_the_last_voxel(size, width):
    """D-59: in single precision the largest x below the width could give the index n."""
    layer = PassiveLayer(torch.tensor([width, width]), 1.0, size)
    last = torch.nextafter(torch.tensor(width), torch.tensor(0.0))
    index = layer.abs2idx(torch.stack([last, last])[None])
    assert index.tolist() == [[round(width / size) - 1] * 2]
    assert layer.abs2idx(torch.tensor([[-1.0, 9.0]])).tolist() == [[0, round(width / size) - 1]]


def test_voxels_of_selected_muons():
    layer = passives(1)[0]
    mu = MuonBatch(torch.tensor([[0.05, 0.95, 5, 0, 0], [0.3, 0.41, 5, 0, 0]], dtype=F64), 1.0)
    assert layer.mu_abs2idx(mu).tolist() == [[0, 9], [3, 4]]
    assert layer.mu_abs2idx(mu, torch.tensor([False, True])).tolist() == [[3, 4]]


def test_d55_unknown_scatter_models_are_refused_at_construction():
    """D-55: a wrong name was noticed when the first muon scattered."""
    for name in ("pgeant", "nonsense"):
        with pytest.raises(UserError, match="scatter_model"):
            passives(1, scatter_model=name)


def test_wrong_layouts_are_refused():
    layer = passives(1)[0]
    with pytest.raises(UserError, match=r"got a grid of \(3, 3\) voxels, need \(10, 10\)"):
        layer.set_rad_length(torch.ones(3, 3))
    with pytest.raises(UserError, match="above 0 m"):
        layer.set_rad_length(torch.zeros(10, 10))


def test_muons_leave_at_the_bottom_wherever_they_come_from():
    for layer in (passives(1)[0], passives(1, x0=0.0176)[0]):
        for z in (5.0, 0.25, 0.1):
            mu = beam(10, theta=0.3, z=z)
            layer(mu)
            torch.testing.assert_close(mu.z, torch.full((10,), 0.2, dtype=F64))


def test_an_empty_layer_and_a_model_without_scattering_do_not_bend_muons():
    free = passives(1, x0=0.0056, scatter_model=NoScatterSettings())[0]
    for layer in (passives(1)[0], free):
        mu = beam(10, theta=0.5, phi=1.0, z=0.3)
        layer(mu)
        torch.testing.assert_close(mu.theta, torch.full((10,), 0.5, dtype=F64))
        torch.testing.assert_close(mu.x, torch.full((10,), 0.55, dtype=F64) + 0.1 * mu.tan_xy[:, 0])


def test_d23_vacuum_and_vertical_muons_survive():
    """D-23: infinite X0 and vertical directions ended in NaN and deleted muons."""
    layer = passives(1, x0=float("inf"))[0]
    mu = beam(100, z=0.3)
    layer(mu)
    assert len(mu) == 100
    assert (mu.theta < 1e-17).all()
    assert (mu.phi == 0).all()


def test_a_single_muon_can_cross():
    mu = beam(1, z=0.3)
    passives(1, x0=0.0176)[0](mu)
    assert mu.xyz.shape == (1, 3)
    assert torch.isfinite(mu.muons).all()


def test_no_muons_can_cross():
    mu = beam(0, z=0.3)
    passives(1, x0=0.0176)[0](mu)
    assert len(mu) == 0


def test_d01_layers_scatter_as_the_review_says():
    """D-01: displacement and deflection were anti-correlated."""
    mu = beam(z=0.3)
    passives(1, x0=0.0176, scatter_model=HighlandSettings(log_term="none"))[0](mu)
    dx, angle = mu.x - 0.55, mu.theta_x
    theta0 = 0.0136 / 5 * sqrt(0.1 / 0.0176) * sqrt(1 + (0.10566 / 5) ** 2)
    assert_rms(angle, theta0)
    assert_rms(dx, 0.1 * theta0 / sqrt(3))
    assert_correlation(dx, angle, sqrt(3) / 2)


@pytest.mark.parametrize("n_layers", [1, 5])
def test_d21_a_stack_scatters_like_one_slab(n_layers):
    """D-21: the width depended on the step; the logarithm goes on from layer to layer here."""
    mu = beam(z=0.3, name=f"stack {n_layers}")
    for layer in passives(n_layers, low=0.2, size=0.1 / n_layers, lw=(1.1, 1.1), x0=0.0056):
        layer(mu)
    expected = highland_angle(torch.tensor(5.0), torch.tensor(0.1 / 0.0056)).item()
    assert_rms(mu.theta_x, expected)
    assert_rms(mu.theta_y, expected)


def test_matter_crossed_follows_the_muons_that_are_left():
    mu = beam(4, z=0.3)
    mu._x = torch.tensor([0.05, 0.55, -5.0, 0.5], dtype=F64)
    passives(1, x0=0.0176)[0](mu)
    mu.filter_muons(torch.tensor([True, False, True, False]))
    torch.testing.assert_close(mu.crossed[:, 0], torch.tensor([0.1 / 0.0176, 0.0], dtype=F64))


def test_d60_every_muon_crosses_the_whole_layer():
    """D-60: a displacement above the top of the layer let a muon cross the rest unscattered."""
    layer = passives(1, size=0.2, lw=(9.8, 9.8), x0=0.003)[0]
    mu = beam(20_000, theta=0.8, x=4.9, z=0.4, momentum=0.2)
    secant = 1 / torch.cos(mu.theta)
    layer(mu)
    torch.testing.assert_close(mu.crossed[:, 0], secant * 0.2 / 0.003)
    torch.testing.assert_close(mu.z, torch.full((20_000,), 0.2, dtype=F64))
    assert torch.isfinite(mu.muons).all()
    assert (mu.theta < torch.pi / 2).all()


def test_compat_settings_bring_the_width_of_one_step_back():
    """A layer that is one step of 1 cm of lead, beta = 1: golden number of the spec."""
    model = HighlandSettings(log_term="step", beta=False, displacement_sign=-1)
    layer = passives(1, size=0.01, lw=(1.1, 1.1), x0=0.005612, scatter_model=model)[0]
    mu = beam(z=0.3)
    layer(mu)
    assert_rms(mu.theta_x, 3.710568636e-3)
    assert_correlation(mu.x - 0.55, mu.theta_x, -sqrt(3) / 2)


def test_equal_streams_scatter_alike():
    one, two, other = (beam(50, z=0.3, name=name) for name in ("a", "a", "b"))
    layer = passives(1, x0=0.0176)[0]
    for mu in (one, two, other):
        layer(mu)
    assert torch.equal(one.muons, two.muons)
    assert not torch.equal(one.muons, other.muons)


def test_single_precision_is_kept():
    layer = PassiveLayer(torch.tensor([1.0, 1.0]), 1.0, 0.1, uniform(0.0176))
    mu = MuonBatch(torch.tensor([[0.5, 0.5, 5.0, 0.1, 0.2]]).repeat(1000, 1), 1.0)
    layer(mu)
    assert mu.muons.dtype == torch.float32
    assert torch.isfinite(mu.muons).all()
