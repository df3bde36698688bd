import numpy as np
import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from tests.stats import assert_mean
from tests.unit.inference.fakes import F64
from tomopt_tasks.inference import sums
from tomopt_tasks.inference.axes import (
    inner_edges,
    normal_shares,
    student4_tail,
    uniform_shares,
)
from tomopt_tasks.inference.power import (
    angle_noise,
    path_in_box,
    power_scale,
    squared_angle,
    thickness,
)
from tomopt_tasks.inference.sums import Crossings, box_shares, layer_sums, voxel_sums
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.highland import highland_angle

EDGES = torch.tensor([0.1, 0.2, 0.3], dtype=F64)


def uniform(*shape):
    return torch.rand(shape, generator=stream(11, "sums", *shape), dtype=F64)


def test_shares_equal_the_normal_distribution_with_open_ends():
    position, sigma = torch.tensor([0.17, 0.05], dtype=F64), torch.tensor([0.1, 0.02], dtype=F64)
    found = normal_shares(position, sigma, EDGES)
    for row, x, s in zip(found, position, sigma, strict=True):
        edges = np.array([-np.inf, 0.1, 0.2, 0.3, np.inf])
        expected = np.diff(stats.norm.cdf(edges, float(x), float(s) + 1e-7))
        assert row.numpy() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("shares", [normal_shares, uniform_shares])
def test_d61_shares_of_far_away_muons_keep_their_precision_on_both_sides(shares, dtype):
    # 5 to 9 sigma away from the nearest cell: differences of numbers near one give zero or noise
    scale = torch.full((2,), 0.01, dtype=dtype)
    left, right = shares(torch.tensor([0.02, 0.38], dtype=dtype), scale, EDGES.to(dtype))
    assert_close(left, right.flip(0), rtol=2e-4, atol=0)
    tail = stats.norm.sf if shares is normal_shares else lambda u: stats.t.sf(u, 4)
    expected = tail(8.0 / (1 + 1e-5)) - tail(18.0 / (1 + 1e-5))
    assert float(left[1]) == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("shares", [normal_shares, uniform_shares])
def test_d61_shares_add_up_to_one_and_go_to_the_nearest_cell(shares, dtype):
    position = torch.tensor([-50.0, 0.0, 0.15, 0.2, 1e4], dtype=dtype)
    sigma = torch.tensor([0.1, 1e-9, 3.0, 0.0, 1.0], dtype=dtype)
    found = shares(position, sigma, EDGES.to(dtype))
    assert_close(found.sum(1), torch.ones(5, dtype=dtype))
    assert (found >= 0).all()
    assert found[0].argmax() == 0
    assert found[4].argmax() == 3


def test_shares_of_a_single_cell_are_one():
    alone = normal_shares(uniform(3), uniform(3), EDGES[:0])
    assert_close(alone, torch.ones(3, 1, dtype=F64))


@pytest.mark.parametrize("shares", [normal_shares, uniform_shares])
def test_shares_have_the_gradient_of_their_differences(shares):
    position, sigma = uniform(4).requires_grad_(), (0.05 + uniform(4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, s: shares(p, s, EDGES), (position, sigma))


def test_students_tail_is_that_of_four_degrees_of_freedom():
    u = torch.tensor([0.0, 0.3, 1.0, 3.0, 30.0, 1e4], dtype=F64)
    assert_close(student4_tail(u).numpy(), stats.t.sf(u.numpy(), 4), rtol=1e-10, atol=0)
    assert_close(student4_tail(-u), student4_tail(u))


def test_depths_in_uniform_matter_follow_the_shares():
    # deflection and displacement of a uniform slab: y = L (theta / 2 + xi theta0 / sqrt 12)
    rng = stream(11, "slab")
    theta, xi = torch.randn(2, 200_000, 2, generator=rng, dtype=F64)
    r2 = (theta**2).sum(1)
    depth = 0.5 + (theta * xi).sum(1) / r2 / 12**0.5
    edges = torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=F64)
    expected = uniform_shares(
        torch.tensor(0.5, dtype=F64), torch.tensor(0.5 / 12**0.5, dtype=F64), edges
    )
    cell = torch.bucketize(depth, edges)
    for k in range(5):
        assert_mean(r2 / 2 * (cell == k), float(expected[k]))


def test_a_stretch_is_shared_by_overlap():
    at = torch.tensor([0.05, 0.25, 0.25, 0.05], dtype=F64)  # there, nowhere, and back
    found = box_shares(at[None, :, None], EDGES)[0, :, :, 0]
    assert_close(found[0], torch.tensor([0.25, 0.5, 0.25, 0.0], dtype=F64), rtol=0, atol=1e-6)
    assert_close(found.sum(1), torch.ones(3, dtype=F64))
    assert_close(found[2], found[0])


def test_edges_start_at_the_bottom_of_the_grid():
    found = inner_edges(0.55, 0.1, EDGES, 3)
    assert_close(found, torch.tensor([0.65, 0.75], dtype=F64))


def factors(n_volumes=2, n_muons=23):
    shapes = (3, 4, 5, 2)
    return [uniform(n_volumes, n, n_muons) for n in shapes]


def test_sums_equal_the_dense_product():
    channels, z, x, y = factors()
    expected = torch.einsum("vcn,vzn,vxn,vyn->vczxy", channels, z, x, y)
    assert_close(voxel_sums(channels, z, x, y), expected)


def test_sums_have_the_gradient_of_their_differences():
    inputs = [factor.requires_grad_() for factor in factors(n_muons=5)]
    assert torch.autograd.gradcheck(voxel_sums, inputs)


def test_pieces_change_no_sum_and_no_gradient(monkeypatch):
    inputs = [factor.requires_grad_() for factor in factors()]
    whole = voxel_sums(*inputs)
    weight = uniform(*whole.shape)
    slopes = torch.autograd.grad((whole * weight).sum(), inputs)
    monkeypatch.setattr(sums, "BLOCK", 4)
    monkeypatch.setattr(sums, "ELEMENTS", 1)
    pieces = voxel_sums(*inputs)
    assert_close(pieces, whole)
    for one, other in zip(
        torch.autograd.grad((pieces * weight).sum(), inputs), slopes, strict=True
    ):
        assert_close(one, other)


def test_sums_of_no_muons_are_zero():
    assert not voxel_sums(*factors(2, 0)).any()
    layer, (x, y) = uniform(2, 2, 0), crossings(0)
    assert not layer_sums(layer, x, y).any()


def test_d08_the_graph_keeps_the_factors_only():
    kept = []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    inputs = [factor.requires_grad_() for factor in factors(1, 500)]
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        voxel_sums(*inputs)
    assert sum(kept) == 500 * (3 + 4 + 5 + 2)  # muons times voxels would be 20 000


def crossings(n_muons):
    """Of two layers: some stretches lead backwards, some lie beyond the outer cells."""
    at = 0.6 * uniform(2, 2, 3, n_muons) - 0.1
    return Crossings(at[0], EDGES), Crossings(at[1], EDGES[:2])


def test_sums_by_layer_equal_the_dense_product(monkeypatch):
    layer, (x, y) = uniform(2, 2, 23), crossings(23)
    expected = torch.einsum("vzn,vzxn,vzyn->vzxy", layer, box_shares(*x), box_shares(*y))
    assert_close(layer_sums(layer, x, y), expected)
    monkeypatch.setattr(sums, "BLOCK", 5)
    assert_close(layer_sums(layer, x, y), expected)


def test_sums_by_layer_have_the_gradient_of_their_differences():
    layer, (x, y) = uniform(2, 2, 5), crossings(5)
    inputs = [t.clone().requires_grad_() for t in (layer, x.at, y.at)]

    def total(layer, x_at, y_at):
        return layer_sums(layer, Crossings(x_at, x.edges), Crossings(y_at, y.edges))

    assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize("n", [1e-7, 1e-3, 0.3, 1.0, 17.8, 1e4])
def test_thickness_inverts_highlands_formula(n):
    momentum = torch.tensor([1e6], dtype=F64)  # beta = 1
    angle = highland_angle(momentum, torch.tensor([n], dtype=F64))
    found = thickness(power_scale(momentum) * angle**2)
    assert float(found) == pytest.approx(n, rel=1e-9)


def test_thickness_has_the_gradient_of_its_differences():
    power = torch.tensor([1e-4, 0.1, 1.0, 30.0], dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(thickness, power)


def test_the_noise_of_the_angle_is_what_resolution_adds_to_its_square():
    # two steep directions, 20 000 noisy measurements
    n = 20_000
    s1 = torch.tensor([[0.5, -1.0]], dtype=F64).expand(n, 2)
    s2 = s1 + torch.tensor([[0.01, 0.02]], dtype=F64)
    var = torch.tensor([[1e-6, 4e-6]], dtype=F64)
    rng = stream(11, "noise")
    noisy = [(s + var.sqrt() * torch.randn(n, 2, generator=rng, dtype=F64)).t() for s in (s1, s2)]
    true = squared_angle(s1.t(), s2.t())
    noise = angle_noise(s1.t(), s2.t(), 2.0 * var.expand(n, 2).t())
    assert_mean(squared_angle(*noisy) - true - noise, 0.0)
    assert float(noise[0]) > 5e-7


@pytest.mark.parametrize("angle", [1e-9, 1e-6, 1e-4, 1.00001e-4, 0.1, 1.2])
def test_the_squared_angle_is_smooth_from_small_to_large(angle):
    slope = torch.tensor([[np.tan(angle)], [0.0]], dtype=F64)
    found = squared_angle(torch.zeros_like(slope), slope)
    assert float(found) == pytest.approx(angle**2, rel=1e-9)


def test_the_squared_angle_has_a_gradient_at_zero():
    slope = torch.zeros(2, 1, dtype=F64, requires_grad=True)
    found = squared_angle(torch.zeros(2, 1, dtype=F64), slope)
    (gradient,) = torch.autograd.grad(found.sum(), slope)
    assert (gradient == 0).all()


def test_paths_in_a_box_are_found_by_walking():
    entry, slope = 2.0 * uniform(200, 2) - 0.5, 4.0 * uniform(200, 2) - 2.0
    slope[0], entry[0] = 0.0, 0.5
    first, last = path_in_box(entry.t(), slope.t(), torch.tensor([1.0, 0.8, 0.6], dtype=F64))
    depth = (torch.arange(6000, dtype=F64) + 0.5) / 1e4
    xy = entry[:, None] + depth[:, None] * slope[:, None]
    walked = ((xy >= 0) & (xy < torch.tensor([1.0, 0.8], dtype=F64))).all(2).sum(1) / 1e4
    assert_close(last - first, walked.to(F64), rtol=0, atol=3e-4)
    assert ((first >= 0) & (last <= 0.6) & (first <= last)).all()
