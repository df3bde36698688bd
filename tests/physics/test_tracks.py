"""Tracks, angles and points of closest approach against independent solutions."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch.testing import assert_close

from tests.stats import assert_std
from tests.unit.inference.fakes import (
    F64,
    FakeVolume,
    kinked_muons,
)
from tomopt_tasks import kernels
from tomopt_tasks.detectors.hits import Hits, Lines
from tomopt_tasks.inference import line_fit
from tomopt_tasks.inference.poca import find_poca
from tomopt_tasks.inference.tracks import Tracks, fit_tracks, fit_tracks_float32
from tomopt_tasks.inference.variables import VARIABLES
from tomopt_tasks.rng import stream


def draw(*shape, name="draw"):
    return torch.randn(shape, generator=stream(7, name, *shape), dtype=F64)


def uniform(*shape, low=0.0, high=1.0, name="uniform"):
    draws = torch.rand(shape, generator=stream(7, name, *shape), dtype=F64)
    return low + (high - low) * draws


def random_hits(n_panels, n_muons=50, height=1.5, offset=5.0):
    """Lines and hits with random weights; panels spread over 0.3 m."""
    lines = Lines(offset * draw(n_muons, 2), 0.3 * draw(n_muons, 2, name="slope"), z=height)
    sigma = 1e-4 * uniform(n_muons, n_panels, 2, low=0.5, high=4.0)
    hits = Hits(
        depth=torch.linspace(0.0, 0.3, n_panels, dtype=F64) + 0.01 * uniform(n_panels),
        residual=sigma * draw(n_muons, n_panels, 2, name="noise"),
        sigma=sigma,
        efficiency=uniform(n_muons, n_panels, low=0.1, name="eff"),
        present=torch.ones(n_muons, n_panels, dtype=torch.bool),
    )
    return lines, hits


def least_squares(lines, hits, mu, axis):
    """Offset and slope of one muon on one axis by an independent solver on absolute positions."""
    here = hits.present[mu].numpy()
    depth = hits.depth.numpy()[here]
    weight = (hits.efficiency[mu] / hits.sigma[mu, :, axis]).numpy()[here]
    position = lines.offset[mu, axis] + hits.depth * lines.slope[mu, axis]
    measured = (position + hits.residual[mu, :, axis]).numpy()[here]
    design = np.stack([np.ones_like(depth), depth], 1)
    solution, *_ = np.linalg.lstsq(weight[:, None] * design, weight * measured, rcond=None)
    return solution


@pytest.mark.parametrize("n_panels", [2, 3, 4, 5, 6])
def test_the_fit_equals_an_independent_least_squares_solver(n_panels):
    lines, hits = random_hits(n_panels)
    if n_panels > 3:
        hits.present[::3, 1] = False  # missing hits do not count
    tracks = fit_tracks(lines, hits)
    for mu in range(0, 50, 7):
        for axis in (0, 1):
            offset, slope = least_squares(lines, hits, mu, axis)
            assert float(tracks.offset[mu, axis]) == pytest.approx(offset, abs=1e-11)
            assert float(tracks.slope[mu, axis]) == pytest.approx(slope, abs=1e-11)


def test_d05_single_precision_keeps_slopes_to_a_microradian():
    # the start of the ladle benchmark: panels 1 cm apart at z = 1.47, muons 5.5 m away;
    # sums that are not centred give -0.00725 instead of -0.01 here
    lines = Lines(5.5 + 0.01 * draw(200, 2), -0.01 + 1e-3 * draw(200, 2, name="s"), z=1.48)
    sigma = torch.full((200, 4, 2), 1e-6, dtype=F64)
    hits = Hits(
        depth=torch.tensor([0.0, 0.01, 0.02, 0.03], dtype=F64),
        residual=sigma * draw(200, 4, 2),
        sigma=sigma,
        efficiency=torch.full((200, 4), 0.9, dtype=F64),
        present=torch.ones(200, 4, dtype=torch.bool),
    )
    exact, rounded = fit_tracks(lines, hits), fit_tracks(_single(lines), _single(hits))
    assert rounded.slope.dtype == torch.float32
    assert (rounded.slope.double() - exact.slope).abs().max() < 1e-7
    assert_close(rounded.var_slope.double(), exact.var_slope, rtol=1e-5, atol=0)


def test_compat_float32_sums_about_the_origin_lose_the_slope():
    """D-05, where the published code measured -0.00725 for a slope of -0.01."""
    lines = Lines(5.5 + 0.01 * draw(200, 2), -0.01 + 1e-3 * draw(200, 2, name="s"), z=1.48)
    hits = noiseless_hits((0.0, 0.01, 0.02, 0.03), n_muons=200)
    tracks = fit_tracks_float32(lines, hits)
    error = (tracks.slope - lines.slope).abs()
    assert 1e-4 < error.median() < 1e-2
    assert tracks.slope.dtype == torch.float64


def test_compat_float32_agrees_where_nothing_cancels():
    """At x ~ 0.5 m with 10 cm between panels, the rounding of a position over that is 6e-7."""
    lines = Lines(0.5 + 0.1 * draw(200, 2), 0.3 * draw(200, 2, name="s"), z=0.35)
    hits = noiseless_hits((0.0, 0.1, 0.2, 0.3), n_muons=200)
    exact, rounded = fit_tracks(lines, hits), fit_tracks_float32(lines, hits)
    assert_close(rounded.slope, exact.slope, rtol=0, atol=1e-5)
    assert_close(rounded.at(0.2).offset, exact.at(0.2).offset, rtol=0, atol=1e-6)
    assert_close(rounded.var_slope, exact.var_slope, rtol=0, atol=0)
    assert float((rounded.slope - exact.slope).abs().max()) > 1e-8


def test_compat_float32_keeps_muons_without_a_track_finite():
    lines, hits = random_hits(4)
    hits.present[::5, 1:] = False
    tracks = fit_tracks_float32(lines, hits)
    assert not tracks.valid[::5].any()
    assert tracks.valid.sum() == 40
    assert torch.isfinite(torch.stack([tracks.offset, tracks.slope])).all()


def noiseless_hits(depths, n_muons):
    shape = (n_muons, len(depths))
    return Hits(
        depth=torch.tensor(depths, dtype=F64),
        residual=torch.zeros(*shape, 2, dtype=F64),
        sigma=torch.full((*shape, 2), 1e-4, dtype=F64),
        efficiency=torch.full(shape, 0.9, dtype=F64),
        present=torch.ones(shape, dtype=torch.bool),
    )


def _single(record):
    values = {name: getattr(record, name) for name in record.__slots__}
    floats = {
        k: v.float() if torch.is_tensor(v) and v.is_floating_point() else v
        for k, v in values.items()
    }
    return type(record)(**floats)


@pytest.mark.parametrize("n_panels", [2, 4])
def test_track_covariances_are_those_of_repeated_measurements(n_panels):
    lines, hits = random_hits(n_panels, n_muons=1)
    n = 20_000
    many = Lines(lines.offset.expand(n, 2), lines.slope.expand(n, 2), lines.z)
    sigma = hits.sigma.expand(n, -1, -1)
    repeated = Hits(
        hits.depth,
        sigma * draw(n, n_panels, 2, name="repeat"),
        sigma,
        hits.efficiency.expand(n, -1),
        hits.present.expand(n, -1),
    )
    tracks = fit_tracks(many, repeated)
    assert_std(tracks.offset[:, 0], float(tracks.var_offset[0, 0].sqrt()))
    assert_std(tracks.slope[:, 1], float(tracks.var_slope[0, 1].sqrt()))
    below = tracks.at(lines.z - 1.2)
    assert_std(below.offset[:, 0], float(below.var_offset[0, 0].sqrt()))
    both = (tracks.offset + 0.5 * tracks.slope)[:, 0]
    variance = tracks.var_offset + tracks.cov + 0.25 * tracks.var_slope
    assert_std(both, float(variance[0, 0].sqrt()))


def test_equal_weights_give_the_textbook_variance_of_a_slope():
    lines, hits = random_hits(4, n_muons=3)
    flat = Hits(
        hits.depth,
        hits.residual,
        torch.full_like(hits.sigma, 1e-4),
        torch.full_like(hits.efficiency, 0.7),
        hits.present,
    )
    lever2 = ((hits.depth - hits.depth.mean()) ** 2).sum()
    found = fit_tracks(lines, flat).var_slope
    assert_close(found, (1e-8 / lever2).expand_as(found))


def test_panels_at_equal_heights_and_single_hits_are_not_valid_and_stay_finite():
    lines, hits = random_hits(3, n_muons=4)
    same = Hits(torch.zeros(3, dtype=F64), hits.residual, hits.sigma, hits.efficiency, hits.present)
    alone = Hits(hits.depth, hits.residual, hits.sigma, hits.efficiency, hits.present.clone())
    alone.present[:, 1:] = False
    for case in (same, alone):
        tracks = fit_tracks(lines, case)
        assert not tracks.valid.any()
        for name in ("offset", "slope", "var_offset", "cov", "var_slope"):
            assert torch.isfinite(getattr(tracks, name)).all()


def rows_with_angle(angle, theta, dtype):
    """Track parameters of pairs of directions with a known angle between them."""
    n = len(angle)
    first = Rotation.from_euler("zy", np.stack([np.linspace(0, 6, n), np.full(n, theta)], 1))
    axis = first.apply(np.array([1.0, 0.0, 0.0]))
    before = first.apply(np.array([0.0, 0.0, 1.0]))  # z is depth here
    after = Rotation.from_rotvec(axis * angle[:, None]).apply(before)
    rows = np.zeros((n, 8))
    rows[:, 2:4] = before[:, :2] / before[:, 2:]
    rows[:, 6:8] = after[:, :2] / after[:, 2:]
    return torch.tensor(rows, dtype=dtype)


@pytest.mark.parametrize("theta", [0.0, 0.3, 1.0])
def test_d04_angles_are_recovered_in_single_precision(theta):
    # arccos of a rounded cosine resolves nothing below 3.5e-4
    angle = np.geomspace(1e-6, 0.5 if theta == 1.0 else 1.0, 60)
    found = VARIABLES["total_scatter"](rows_with_angle(angle, theta, torch.float32), 1.0, 1.0)
    assert np.abs(found[:, 0].double().numpy() - angle).max() < 1e-6
    exact = VARIABLES["total_scatter"](rows_with_angle(angle, theta, F64), 1.0, 1.0)
    assert np.abs(exact[:, 0].numpy() / angle - 1).max() < 1e-8


def test_d04_a_zero_angle_has_a_finite_gradient():
    rows = torch.zeros(1, 8, dtype=F64, requires_grad=True)
    for name in VARIABLES:
        (slope,) = torch.autograd.grad(VARIABLES[name](rows, 1.0, 1.0).sum(), rows)
        assert torch.isfinite(slope).all(), name


def test_angles_of_known_directions():
    # in: 45 degrees towards +x; out: 45 degrees towards -y
    rows = torch.tensor([[0, 0, 1, 0, 0, 0, 0, -1]], dtype=F64)
    quarter = torch.pi / 4
    found = {name: VARIABLES[name](rows, 1.0, 1.4)[0].tolist() for name in VARIABLES}
    assert found["theta_in"] == pytest.approx([quarter])
    assert found["theta_out"] == pytest.approx([quarter])
    assert found["phi_in"] == pytest.approx([0.0])
    assert found["phi_out"] == pytest.approx([3 * torch.pi / 2])
    assert found["total_scatter"] == pytest.approx([torch.pi / 3])
    assert found["theta_xy_in"] == pytest.approx([quarter, 0.0])
    assert found["theta_xy_out"] == pytest.approx([0.0, -quarter])
    assert found["dtheta_xy"] == pytest.approx([quarter, quarter])
    assert found["dtheta"] == pytest.approx([0.0], abs=1e-12)
    assert found["dphi"] == pytest.approx([torch.pi / 2])
    assert found["xyz_in"] == pytest.approx([0, 0, 1.4])
    assert found["xyz_out"] == pytest.approx([0, 0, 0.4])


def test_a_track_that_crosses_the_vertical_changes_its_angle_by_the_sum():
    # 0.1 rad towards +x, then 0.2 rad towards -x: dtheta 0.3, dphi 0, not 0.1 and pi
    rows = torch.zeros(1, 8, dtype=F64)
    rows[0, 2], rows[0, 6] = np.tan(0.1), -np.tan(0.2)
    assert float(VARIABLES["dtheta"](rows, 1.0, 1.0)) == pytest.approx(0.3)
    assert float(VARIABLES["dphi"](rows, 1.0, 1.0)) == pytest.approx(0.0, abs=1e-12)


def exact_tracks(offset, slope, z, valid=None):
    zero = torch.zeros_like(offset)
    some = torch.ones(len(offset), dtype=torch.bool) if valid is None else valid
    return Tracks(offset, slope, zero, zero, zero, z, some)


def test_poca_of_skew_lines_equals_a_linear_solve():
    n = 200
    before = exact_tracks(draw(n, 2), 0.5 * draw(n, 2, name="in"), 1.4)
    after = exact_tracks(draw(n, 2, name="o"), 0.5 * draw(n, 2, name="out"), 0.4)
    poca = find_poca(before, after)
    for mu in range(0, n, 11):
        v1, v2 = (np.array([*t.slope[mu].tolist(), -1.0]) for t in (before, after))
        p1, p2 = (np.array([*t.offset[mu].tolist(), t.z]) for t in (before, after))
        normal = np.cross(v1, v2)
        t1, _, t3 = np.linalg.solve(np.stack([v1, -v2, normal], 1), p2 - p1)
        expected = p1 + t1 * v1 + 0.5 * t3 * normal
        assert poca.xyz[mu].numpy() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    rows = torch.cat([before.offset, before.slope, after.offset, after.slope], 1)
    assert_close(VARIABLES["poca_xyz"](rows, 1.0, 1.4), poca.xyz, rtol=1e-8, atol=1e-9)


def test_poca_of_tracks_that_meet_is_where_they_meet():
    volume = FakeVolume()
    state = kinked_muons(100, volume).flatten(0, 1)
    before = exact_tracks(state[:, 0:2], state[:, 2:4], volume.z_high)
    after = exact_tracks(state[:, 4:6], state[:, 6:8], volume.z_low)
    depth = volume.z_high - find_poca(before, after).xyz[:, 2:]
    meeting = state[:, 0:2] + depth * state[:, 2:4]
    assert_close(find_poca(before, after).xyz[:, :2], meeting, rtol=0, atol=1e-9)
    rows = torch.cat([state[:, :8]], 1)
    assert VARIABLES["dxy"](rows, 0.6, volume.z_high).abs().max() < 1e-9


def test_d18_parallel_tracks_are_masked_and_do_not_harm_the_others():
    # REF inverts a singular matrix and loses the whole batch
    offset, slope = draw(3, 2), 0.2 * draw(3, 2, name="in")
    bent = slope.clone()
    bent[1] += 0.1
    leaf = slope.clone().requires_grad_()
    poca = find_poca(exact_tracks(offset, leaf, 1.4), exact_tracks(offset, bent, 0.4))
    assert poca.valid.tolist() == [False, True, False]
    assert torch.isfinite(poca.xyz).all()
    (gradient,) = torch.autograd.grad(poca.xyz[poca.valid].sum(), leaf)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("block", [3, 4096], ids=["blocks", "whole"])
@pytest.mark.parametrize("n_panels", [2, 5])
def test_fitted_lines_have_the_derivatives_of_differences(n_panels, block, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", block)
    _, hits = random_hits(n_panels, 7)
    seen = hits.efficiency.t().clone()
    seen[0, 2] = 0.0  # a panel that did not see the muon
    inputs = [hits.depth, seen, *(1e3 * x.permute(1, 2, 0) for x in (hits.residual, hits.sigma))]
    inputs = [x.clone().requires_grad_() for x in inputs]
    if n_panels == 2:
        inputs[1] = hits.efficiency.t().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda *x: line_fit.fit_lines(*x)[:5], inputs)
    fitted = line_fit.fit_lines(*inputs)
    assert bool(fitted.valid.all())


def test_muons_without_a_line_have_finite_numbers_and_derivatives():
    _, hits = random_hits(3, 4)
    seen = hits.efficiency.t().clone()
    seen[:, 0] = 0.0
    seen[1:, 1] = 0.0
    inputs = [hits.depth, seen, hits.residual.permute(1, 2, 0), hits.sigma.permute(1, 2, 0)]
    inputs = [x.clone().requires_grad_() for x in inputs]
    fitted = line_fit.fit_lines(*inputs)
    assert fitted.valid.tolist() == [False, False, True, True]
    grads = torch.autograd.grad(sum(part.sum() for part in fitted[:5]), inputs)
    assert all(bool(torch.isfinite(x).all()) for x in (*fitted[:5], *grads))
