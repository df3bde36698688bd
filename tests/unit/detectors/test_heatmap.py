import io

import pytest
import torch
from torch.testing import assert_close

from tests.unit.inference.fakes import F64
from tomopt_tasks.detectors.heatmap import GMM, DetectorHeatMap
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream


def heat_map(**kwargs):
    given = {"res": 1e4, "eff": 0.9, "init_xyz": (0.5, 0.4, 1.0), "init_xy_span": (-0.5, 0.5)}
    return DetectorHeatMap(**(given | kwargs)).double()


def one_gaussian(sigma=0.2, norm=1.0):
    made = heat_map(n_cluster=1)
    with torch.no_grad():
        made.mu.copy_(torch.tensor([[0.5, 0.4]]))
        made.sig.fill_(sigma)
        made.norm.fill_(norm)
    return made


def test_one_gaussian_has_the_square_root_of_its_shape_as_response():
    made = one_gaussian()
    xy = torch.tensor([[0.5, 0.4], [0.7, 0.4], [0.7, 0.8]], dtype=F64)
    # offsets of (0, 0), (1, 0), (1, 2) widths
    exponent = torch.tensor([0.0, -0.5, -2.5], dtype=F64)
    response = torch.exp(0.5 * exponent)
    assert_close(made.get_resolution(xy).detach(), 1e4 * response[:, None].expand(-1, 2))
    assert_close(made.get_efficiency(xy).detach(), 0.9 * response**2)
    columns = made.get_efficiency(xy, as_2d=True).detach()
    assert_close(columns, 0.9 * response[:, None].expand(-1, 2))


def test_d29_the_response_never_exceeds_nominal():
    made = one_gaussian(norm=1.5)
    centre = torch.tensor([[0.5, 0.4]], dtype=F64)
    assert_close(made.get_resolution(centre).detach(), torch.full((1, 2), 1e4, dtype=F64))
    assert_close(made.get_efficiency(centre).detach(), torch.tensor([0.9], dtype=F64))


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_d29_far_away_response_and_gradients_are_finite(dtype):
    made = one_gaussian(sigma=0.01).to(dtype)
    far = torch.tensor([[50.0, 50.0], [0.5, 0.4]], dtype=dtype)
    value = made.get_resolution(far)
    assert (value > 0).all()
    for slope in torch.autograd.grad(value.log().sum(), [made.mu, made.sig, made.norm]):
        assert torch.isfinite(slope).all()


def test_d29_widths_stay_positive_and_each_axis_has_its_own_bounds():
    made = heat_map(init_xyz=(0.5, 3.0, 1.0))
    with torch.no_grad():
        made.sig.zero_()
        made.mu.fill_(-100.0)
    made.conform((0.0, 0.0, 0.8), (1.0, 5.0, 1.0))
    assert (made.sig > 0).all()
    # 1.2 m around the first middle, cut at the box: in x at 0, in y at 3.0 - 1.2
    assert_close(made.mu[0].detach(), torch.tensor([0.0, 1.8], dtype=F64))
    with torch.no_grad():
        made.mu.fill_(100.0)
        made.norm.fill_(9.0)
        made.z.fill_(9.0)
    made.conform((0.0, 0.0, 0.8), (5.0, 4.0, 1.0))
    assert_close(made.mu[0].detach(), torch.tensor([1.7, 4.0], dtype=F64))
    assert float(made.norm.detach()) == 1.5
    assert float(made.z.detach()) == 1.0


def test_bounds_of_centre_width_and_height_are_given_as_a_triple():
    made = heat_map()
    with torch.no_grad():
        made.mu.fill_(100.0)
        made.sig.fill_(100.0)
    made.clamp_params((0.1, 0.12, 0.8), (0.9, 0.5, 1.0))
    assert (made.mu == 0.9).all()
    assert_close(made.sig.detach(), torch.full_like(made.sig, 0.6))


def test_d02_gradients_of_hits_reach_height_and_mixture():
    made = heat_map()
    rng = stream(5, "heat")
    rows = torch.rand(50, 5, generator=rng, dtype=F64)
    rows[:, 2] = 5.0
    mu = MuonBatch(rows, init_z=1.2)
    mu.rng = rng
    hits = made.get_hits(mu)
    assert hits["reco_xyz"].shape == (50, 3)
    for value in (hits["gen_xyz"][:, 0].sum(), hits["unc_xyz"][:, 0].sum()):
        (slope,) = torch.autograd.grad(value, made.z, retain_graph=True)
        assert slope.abs() > 0
    slopes = torch.autograd.grad(hits["eff"].sum(), [made.mu, made.sig])
    assert all(slope.abs().sum() > 0 for slope in slopes)


def test_cost_is_the_mean_area_of_the_gaussians():
    made = heat_map(m2_cost=3.0)
    expected = 3.0 * (made.sig[:, 0] * made.sig[:, 1]).mean()
    assert_close(made.get_cost(), expected[None])


def test_the_first_mixture_depends_on_names_only():
    first, second, other = heat_map(), heat_map(), heat_map(init_xyz=(0.5, 0.41, 1.0))
    assert torch.equal(first.mu, second.mu)
    assert not torch.equal(first.sig, other.sig)
    drawn = heat_map(rng=stream(9, "mine"))
    assert not torch.equal(drawn.mu, first.mu)
    assert first.mu.shape == (30, 2)
    assert ((first.mu - first.xy_fix).abs() <= 0.5).all()
    assert ((first.sig >= 0.2) & (first.sig <= 1.0)).all()


def test_parameters_are_saved_once():
    made = heat_map()
    assert len(list(made.parameters())) == 4
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    fresh = heat_map(rng=stream(9, "other"))
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(fresh.mu, made.mu)


def test_reversed_offsets_are_swapped():
    made = heat_map(init_xy_span=(0.5, -0.5))
    assert made.delta_xy == pytest.approx(1.0)
    assert_close(made.xy_span_fix, torch.tensor([-0.5, 0.5], dtype=F64))


def test_what_a_heat_map_cannot_do_is_refused():
    with pytest.raises(NotImplementedError, match="budget"):
        heat_map().assign_budget(torch.tensor(1.0))
    with pytest.raises(NotImplementedError, match="edges"):
        heat_map(realistic_validation=True)
    with pytest.raises(ValueError, match="eff"):
        heat_map(eff=0.0)
    with pytest.raises(ValueError, match="n_cluster"):
        GMM(0)
    with pytest.raises(NotImplementedError, match="get_hits"):
        heat_map()()


def test_evaluation_mode_stays_soft():
    made = heat_map().eval()
    assert not made.hard
    assert (made.get_efficiency(torch.tensor([[5.0, 5.0]], dtype=F64)) > 0).all()


def test_the_map_can_be_drawn(tmp_path):
    heat_map().plot_map(bsavefig=True, filename=tmp_path / "map.png")
    assert (tmp_path / "map.png").stat().st_size > 1000
