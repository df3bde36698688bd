"""Scatters of muons: their variables, uncertainties and names against independent solutions."""

import pytest
import torch
from torch.testing import assert_close

from tests.stats import assert_distribution
from tests.unit.inference.fakes import (
    ABOVE,
    BELOW,
    F64,
    FakeMuons,
    FakeVolume,
    irradiate,
    kinked_muons,
    panel_stack,
    side,
)
from tomopt_tasks.inference.generator_level import GenScatterBatch
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.variables import VARIABLES
from tomopt_tasks.utils import jacobian


def measured_batch(n=400, width=0.02, res=1e4, hard=False, **kwargs):
    volume = FakeVolume(n_layers=10, z_low=0.4)
    heights = (1.75, 1.65, 1.55, 1.45), (0.35, 0.25, 0.15, 0.05)
    above, below = (panel_stack(z, res=res, **kwargs) for z in heights)
    return irradiate(kinked_muons(n, volume, width=width), volume, above, below, hard=hard)


def small_step(batch, name, parameter, step):
    rows = batch._parameters.detach().clone()
    rows[:, parameter] += step
    height = 1.0
    return VARIABLES[name](rows, height, 1.4)


@pytest.mark.parametrize("name", VARIABLES)
def test_uncertainties_equal_finite_differences(name):
    batch = measured_batch()
    var_a, cov, var_s = batch._covariance
    columns = ((0, 2), (1, 3), (4, 6), (5, 7))
    total = 0.0
    for k, (a, s) in enumerate(columns):
        by_a, by_s = (
            (small_step(batch, name, p, 1e-7) - small_step(batch, name, p, -1e-7)) / 2e-7
            for p in (a, s)
        )
        total = total + by_a**2 * var_a[:, k, None] + by_s**2 * var_s[:, k, None]
        total = total + 2 * by_a * by_s * cov[:, k, None]
    assert_close(getattr(batch, f"{name}_unc"), total.sqrt(), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("name", ["poca_xyz", "total_scatter", "theta_in", "dtheta_xy", "xyz_out"])
def test_uncertainties_equal_the_spread_of_repeated_measurements(name):
    # one muon with a wide angle, 4000 times: pulls are standard normal
    volume = FakeVolume(n_layers=10, z_low=0.4)
    one = kinked_muons(1, volume, where=torch.tensor([0.4, 0.6, 0.9], dtype=F64), width=0.1)
    above, below = panel_stack((1.75, 1.65, 1.55, 1.45)), panel_stack((0.35, 0.25, 0.15, 0.05))
    batch = irradiate(one.expand(1, 4000, 9), volume, above, below)
    true = VARIABLES[name](one[0, :, :8], 1.0, volume.z_high)
    pulls = (getattr(batch, name) - true) / getattr(batch, f"{name}_unc")
    spread = pulls.std(0)
    for column in range(pulls.shape[1]):
        if spread[column] > 0:  # a height that is fixed has no spread
            assert_distribution(pulls[:, column], "norm")


def test_poca_has_the_same_uncertainty_in_closed_form_and_by_propagation():
    batch = measured_batch()
    assert_close(batch.poca.sigma[batch.valid], batch.poca_xyz_unc, rtol=1e-6, atol=1e-12)


def test_d08_one_pass_a_component_equals_the_full_jacobian():
    batch = measured_batch(n=6)
    rows = batch._parameters.detach().requires_grad_()
    full = jacobian(VARIABLES["poca_xyz"](rows, 1.0, 1.4), rows)  # (mu, 3, mu, 8)
    assert full.shape == (6, 3, 6, 8)
    var = batch._quadratic(full.sum(2))
    assert_close(var.sqrt(), batch.poca_xyz_unc, rtol=1e-9, atol=1e-14)


def test_d08_uncertainties_need_no_memory_for_pairs_of_muons():
    # 40 000 muons: a table of pairs for three coordinates would take 38 GB
    batch = measured_batch(n=40_000)
    assert torch.isfinite(batch.poca_xyz_unc).all()


def test_d56_uncertainties_need_no_graph():
    batch = measured_batch(n=20)
    with_graph = batch.total_scatter_unc
    with torch.no_grad():
        assert_close(measured_batch(n=20).total_scatter_unc, with_graph)
    with torch.inference_mode():
        assert torch.isfinite(measured_batch(n=20).poca.sigma).all()


def test_d65_uncertainties_depend_on_where_the_panels_stand():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    above, below = panel_stack((1.75, 1.65, 1.55, 1.45)), panel_stack((0.35, 0.25, 0.15, 0.05))
    above.z.requires_grad_()
    batch = irradiate(kinked_muons(30, volume), volume, above, below)
    (slope,) = torch.autograd.grad(batch.theta_in_unc.sum(), above.z)
    # a longer lever arm is better: raising the top or lowering the bottom panel lowers sigma
    assert slope[0] < 0 < slope[-1]


def test_names_of_the_seed_hold_for_kept_muons():
    batch = measured_batch(n=50, hard=True, span=1.2)
    n = len(batch)
    assert 0 < n < 50
    for name in VARIABLES:
        assert len(getattr(batch, name)) == n
        assert getattr(batch, f"{name}_unc").shape == getattr(batch, name).shape
    assert_close(batch.poca_xyz, batch.poca.xyz[batch.valid], rtol=1e-8, atol=1e-9)
    assert batch.get_scatter_mask().shape == (n,)
    with pytest.raises(AttributeError, match="colour"):
        _ = batch.colour


def test_d53_a_muon_with_two_hits_a_side_is_kept():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    slanted = torch.zeros(1, 1, 9, dtype=F64)
    slanted[..., 0], slanted[..., 1], slanted[..., 8] = 0.9, 0.5, 5.0
    slanted[..., 2] = -0.5  # at 1.45 m x = 0.925, at 1.75 m x = 1.075
    slanted[..., 4], slanted[..., 5], slanted[..., 6] = 0.5, 0.5, -0.49
    above = panel_stack((1.75, 1.65, 1.55, 1.45), span=1.0)
    below = panel_stack((0.35, 0.25, 0.15, 0.05), span=3.0)
    batch = irradiate(slanted, volume, above, below, hard=True)
    assert batch.above.hits.present.sum() == 2
    assert len(batch) == 1
    assert len(irradiate(slanted, volume, above, below, hard=True, policy="all_panels")) == 0


def test_d43_a_side_with_one_panel_is_refused():
    volume = FakeVolume()
    with pytest.raises(ValueError, match="at least two"):
        irradiate(kinked_muons(5, volume), volume, panel_stack(ABOVE[:1]), panel_stack(BELOW))
    state = kinked_muons(5, volume)
    record = side(state, slice(0, 4), volume.z_high, panel_stack(ABOVE), ("a",), hard=False)
    with pytest.raises(ValueError, match="'below'"):
        ScatterBatch(FakeMuons({"above": record}, state[0, :, 8]), volume)


def test_d19_a_single_muon_that_misses_leaves_an_empty_batch():
    volume = FakeVolume()
    state = kinked_muons(1, volume)
    state[..., [0, 4]] += 50.0
    batch = irradiate(state, volume, panel_stack(ABOVE), panel_stack(BELOW), hard=True)
    assert len(batch) == 0
    assert batch.poca_xyz.shape == (0, 3)
    assert batch.poca_xyz_unc.shape == (0, 3)


def test_vertical_muons_are_kept_and_finite():
    volume = FakeVolume()
    state = torch.zeros(1, 4, 9, dtype=F64)
    state[..., [0, 1, 4, 5]], state[..., 8] = 0.5, 5.0
    batch = irradiate(state, volume, panel_stack(ABOVE), panel_stack(BELOW))
    assert len(batch) == 4
    for name in VARIABLES:
        assert torch.isfinite(getattr(batch, name)).all(), name
        assert torch.isfinite(getattr(batch, f"{name}_unc")).all(), name


def test_d17_generator_level_gives_the_truth_with_zero_uncertainty():
    volume = FakeVolume()
    state = kinked_muons(40, volume)
    reco = irradiate(state, volume, panel_stack(ABOVE), panel_stack(BELOW), hard=True)
    batch = GenScatterBatch(reco.mu, volume)
    assert len(batch) == 40
    assert_close(batch.theta_xy_in, torch.atan(state[0, :, 2:4]), rtol=1e-9, atol=1e-12)
    for name in VARIABLES:
        assert (getattr(batch, f"{name}_unc") == 0).all()
    assert batch.poca.sigma.max() < 1e-6


def test_generator_level_hits_are_the_truth_with_unit_uncertainties():
    """Spec 5.2: ``hit_uncs`` are ones; they were the tiny scale of the fit."""
    volume = FakeVolume()
    reco = irradiate(
        kinked_muons(40, volume), volume, panel_stack(ABOVE), panel_stack(BELOW), hard=True
    )
    batch = GenScatterBatch(reco.mu, volume)
    assert (batch.hit_uncs == 1).all()
    assert (batch.above_hit_uncs == 1).all()
    assert (batch.hits["below"]["unc_xyz"] == 1).all()
    assert (batch.hit_effs == 1).all()
    assert_close(batch.reco_hits, batch.gen_hits)
    vector, start = batch.get_muon_trajectory(batch.above_gen_hits, batch.above_hit_uncs)
    assert_close(vector, batch.track_in)
    assert_close(start, batch.track_start_in)


def test_hits_and_tracks_have_the_shapes_of_the_seed():
    batch = measured_batch(n=30)
    assert batch.n_hits_above == batch.n_hits_below == 4
    for name in ("reco_hits", "gen_hits", "hit_uncs"):
        assert getattr(batch, name).shape == (30, 8, 3)
    for name in ("above_hits", "below_hits", "above_gen_hits", "below_gen_hits"):
        assert getattr(batch, name).shape == (30, 4, 3)
    assert batch.above_hit_uncs.shape == batch.below_hit_uncs.shape == (30, 4, 3)
    assert batch.hit_effs.shape == (30, 8, 1)
    assert batch.above_hit_effs.shape == batch.below_hit_effs.shape == (30, 4, 1)
    assert set(batch.hits) == {"above", "below"}
    assert_close(batch.track_in[:, 2], torch.full((30,), -0.1, dtype=F64))
    assert_close(batch.track_start_in[:, 2], torch.full((30,), 1.75, dtype=F64))
    assert_close(batch.track_start_out[:, 2], torch.full((30,), 0.35, dtype=F64))
    slope = batch.track_out[:, :2] / -batch.track_out[:, 2:]
    assert_close(torch.atan(slope), batch.theta_xy_out)


def test_trajectories_from_bare_hits_equal_the_fit():
    batch = measured_batch(n=30, eff=1.0)
    sigma = batch.above_hit_uncs / batch.above_hit_effs
    vector, start = ScatterBatch.get_muon_trajectory(batch.above_hits, sigma, batch.volume.lw)
    assert_close(vector, batch.track_in, rtol=1e-7, atol=1e-12)
    assert_close(start, batch.track_start_in, rtol=1e-9, atol=1e-12)


def test_trajectories_ignore_hits_that_are_not_there():
    hits = torch.zeros(1, 3, 3, dtype=F64)
    hits[0, :, 2] = torch.tensor([1.0, 0.9, 0.8])
    hits[0, :, 0] = torch.tensor([0.0, 0.1, torch.nan])
    uncs = torch.full((1, 3, 2), 1e-4, dtype=F64)
    uncs[0, 2] = torch.inf
    vector, start = ScatterBatch.get_muon_trajectory(hits, uncs)
    assert_close(vector, torch.tensor([[0.1, 0.0, -0.1]], dtype=F64), rtol=1e-6, atol=1e-9)
    assert_close(start, torch.tensor([[0.0, 0.0, 1.0]], dtype=F64), rtol=0, atol=1e-9)


def test_trajectories_of_hits_on_panels_that_move_have_gradients():
    hits = torch.tensor([[[0.0, 0.0, 1.0], [0.1, 0.0, 0.9]]], dtype=F64, requires_grad=True)
    vector, _ = ScatterBatch.get_muon_trajectory(hits, torch.full((1, 2, 2), 1e-4, dtype=F64))
    vector[0, 0].backward()
    assert_close(hits.grad[0, 1], torch.tensor([1.0, 0.0, 0.0], dtype=F64), rtol=0, atol=1e-9)


def test_an_event_can_be_drawn(tmp_path):
    measured_batch(n=3).plot_scatter(0, tmp_path / "event.png")
    assert (tmp_path / "event.png").stat().st_size > 1000
