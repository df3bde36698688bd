"""Muon banks: bits that do not depend on chunks, straight flights, exact walks through voxels."""

import pytest
import torch

from tests.stats import assert_rms, assert_same_mean
from tomopt_tasks.core import UserError
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.muons.source import incident_muons
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.highland import highland_angle
from tomopt_tasks.scattering.settings import HighlandSettings, NoScatterSettings
from tomopt_tasks.transport import bank
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.transport.passive import scatter_through
from tomopt_tasks.volume.crossing import Layer, cross_layer, first_cells, pad_density
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World

WORLD = World(size=(0.6, 0.4), passive=(0.25, 0.65), voxel=0.1, height=0.9)


def grid(n_volumes, x0=0.02):
    return torch.full((n_volumes, *WORLD.shape), x0, dtype=torch.float64)


def random_walks(n):
    """Random layers of three volumes and random flights, also from outside the grid."""
    rng = stream(21)
    density = 10.0 ** (4 * torch.rand(3, 1, 6, 4, generator=rng, dtype=torch.float64) - 2)
    at = torch.rand(2, n, generator=rng, dtype=torch.float64) * 10 - 2
    tan = torch.randn(2, n, generator=rng, dtype=torch.float64) * 1.5
    volume = torch.randint(3, (n,), generator=rng)
    layer = Layer(pad_density(density)[0], (6, 4), first_cells(volume, (6, 4)))
    return density[:, 0], volume, layer, at, tan


@pytest.mark.parametrize("sizes", [(40, 1), (4096, 3)])
def test_results_do_not_depend_on_the_chunking(monkeypatch, sizes):
    per_volume = 5000 if sizes[0] == 4096 else 300
    muons = MuonSettings(per_volume=per_volume)
    expected = transport(grid(4), WORLD, muons, HighlandSettings(), 7, "train")
    monkeypatch.setattr(bank, "CHUNK", sizes[0] * sizes[1])
    found = transport(grid(4), WORLD, muons, HighlandSettings(), 7, "train")
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("stretch", [4096, 8192])
@pytest.mark.parametrize("n_muons", [9000, 8192])
def test_muons_of_a_volume_that_are_made_in_stretches_have_the_same_bits(
    monkeypatch, stretch, n_muons
):
    muons = MuonSettings(per_volume=n_muons)
    arguments = (grid(3), WORLD, muons, HighlandSettings(), 7, "train")
    expected = transport(*arguments)
    monkeypatch.setattr(bank, "STRETCH", stretch)
    parts = list(bank.transported(*arguments))
    lengths = [part.state.shape[1] for part in parts]
    whole, rest = divmod(n_muons, stretch)
    if n_muons == stretch:
        assert lengths == [n_muons]  # all volumes together
    else:
        assert lengths == 3 * [*[stretch] * whole, *[rest] * (rest > 0)]
    found = transport(*arguments)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


def test_part_of_a_set_gives_the_same_muons_as_the_whole():
    muons = MuonSettings(per_volume=100)
    whole, generated = transport(grid(5), WORLD, muons, HighlandSettings(), 7, "train")
    part, some = transport(grid(2), WORLD, muons, HighlandSettings(), 7, "train", first_volume=3)
    assert torch.equal(part, whole[3:])
    assert torch.equal(some, generated[3:])


@pytest.mark.gpu
def test_a_gpu_agrees_statistically():
    muons = MuonSettings(per_volume=20_000)
    states = [
        transport(grid(1).to(device), WORLD, muons, HighlandSettings(), 7, "train")[0].cpu()[0]
        for device in ("cpu", "cuda", "cuda")
    ]
    assert torch.equal(states[1], states[2])
    for column in range(9):
        assert_same_mean(states[0][:, column], states[1][:, column] + 0.0)
        assert_same_mean(states[0][:, column] ** 2, states[1][:, column] ** 2)


def test_volumes_splits_replicas_and_seeds_have_streams_of_their_own():
    muons = MuonSettings(per_volume=50)
    args = (WORLD, muons, HighlandSettings())
    first, _ = transport(grid(2), *args, 7, "train", 0)
    assert torch.equal(first, transport(grid(2), *args, 7, "train", 0)[0])
    others = [
        transport(grid(2), *args, *names)[0]
        for names in ((8, "train", 0), (7, "test", 0), (7, "train", 1))
    ]
    assert not torch.equal(first[0], first[1])
    for other in others:
        assert not torch.isin(other[..., 0], first[..., 0]).any()


def test_the_scene_does_not_change_the_muons_above():
    muons = MuonSettings(per_volume=200)
    lead, _ = transport(grid(1, 0.0056), WORLD, muons, HighlandSettings(), 7, "train")
    air, _ = transport(grid(1, 304.0), WORLD, muons, HighlandSettings(), 7, "train")
    assert torch.equal(lead[..., :4], air[..., :4])
    assert torch.equal(lead[..., 8], air[..., 8])


def test_without_scattering_muons_fly_straight():
    state, _ = transport(grid(2), WORLD, MuonSettings(), NoScatterSettings(), 7, "train")
    x_in, y_in, tan_x, tan_y, x_out, y_out, out_x, out_y, p = state.unbind(-1)
    torch.testing.assert_close(x_out, x_in + 0.4 * tan_x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(y_out, y_in + 0.4 * tan_y, rtol=1e-12, atol=1e-12)
    assert torch.equal(out_x, tan_x)
    assert torch.equal(out_y, tan_y)
    assert (p == 5.0).all()


def test_d23_a_volume_of_vacuum_lets_muons_fly_straight():
    vacuum = grid(1, torch.inf)
    muons = MuonSettings(per_volume=300)
    found, _ = transport(vacuum, WORLD, muons, HighlandSettings(), 7, "train")
    straight, _ = transport(vacuum, WORLD, muons, NoScatterSettings(), 7, "train")
    torch.testing.assert_close(found, straight, rtol=1e-12, atol=1e-12)


def test_kicks_in_single_precision_move_muons_by_far_less_than_a_detector_sees():
    """100 um and 0.2 mrad; the kicks are 15 mm and 27 mrad."""
    muons = incident_muons(MuonSettings(), WORLD, [stream(7, 0), stream(7, 1)], 2000)
    normal = torch.randn(2, 4, 4, 2000, generator=stream(7, "kicks"))
    x0 = grid(2)
    x0[:, 2:] = 304.0
    single, double = (
        torch.stack(scatter_through(x0, 0.1, muons.above, muons.momentum, n, HighlandSettings()))
        for n in (normal, normal.double())
    )
    assert single.dtype == torch.float64
    assert (single - double).square().mean().sqrt() < 1e-7
    assert (single - double).abs().max() < 1e-5
    assert not torch.equal(single, double)


def test_every_aimed_muon_is_inside_the_volume_somewhere():
    state, generated = transport(grid(3), WORLD, MuonSettings(), NoScatterSettings(), 7, "train")
    depth = torch.linspace(0, 0.4, 400, dtype=torch.float64)[:, None, None]
    x = state[..., 0] + depth * state[..., 2]
    y = state[..., 1] + depth * state[..., 3]
    inside = ((x >= 0) & (x < 0.6) & (y >= 0) & (y < 0.4)).any(0)
    assert inside.double().mean() > 0.995  # the rest clips an edge between two of these points
    assert (generated > 1000).all()


def test_muons_are_deflected_by_the_matter_that_they_cross():
    world = World(size=(4.0, 4.0), passive=(0.0, 0.4), voxel=0.1, height=0.4)
    x0 = torch.full((1, *world.shape), 0.1, dtype=torch.float64)
    muons = MuonSettings(per_volume=30_000)
    state, _ = transport(x0, world, muons, HighlandSettings(), 7, "train")
    x_in, y_in, tan_x, tan_y, x_out, y_out, out_x, out_y, p = state[0].unbind(-1)
    inner = ((x_in - 2).abs() < 1) & ((y_in - 2).abs() < 1)
    inner &= ((x_out - 2).abs() < 1.9) & ((y_out - 2).abs() < 1.9)
    secant = (1 + tan_x**2 + tan_y**2).sqrt()
    cosine = (1 + tan_x * out_x + tan_y * out_y) / (secant * (1 + out_x**2 + out_y**2).sqrt())
    space = cosine.clamp(max=1).acos()[inner]
    expected = highland_angle(p, 0.4 * secant / 0.1)[inner]
    # two planes; paths change by the scattering itself by far less than the tolerance
    assert_rms(space / expected / 2**0.5, 1.0)


def test_walks_cross_every_voxel_on_the_line_and_nothing_else():
    """Radiation lengths and their levers against a sum over 20 001 points of each flight."""
    density, volume, layer, at, tan = random_walks(500)
    matter = cross_layer(layer, at, tan)
    steps = (torch.arange(20_001, dtype=torch.float64) + 0.5)[:, None] / 20_001
    x, y = at[0] + steps * tan[0], at[1] + steps * tan[1]
    inside = (x >= 0) & (x < 6) & (y >= 0) & (y < 4)
    cells = density[volume, x.clamp(0, 5.9).long(), y.clamp(0, 3.9).long()]
    for k, found in enumerate(matter):
        expected = (cells * inside * (1 - steps) ** k).mean(0)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=2e-2)


def test_walks_do_not_depend_on_which_flights_are_together():
    _, _, layer, at, tan = random_walks(300)
    together = cross_layer(layer, at, tan)
    part = slice(100, 117)
    some_layer = layer._replace(first_cell=layer.first_cell[part])
    alone = cross_layer(some_layer, at[:, part], tan[:, part])
    for whole, some in zip(together, alone, strict=True):
        assert torch.equal(whole[part], some)


def test_d59_muons_on_voxel_borders_are_not_lost():
    """D-59: a coordinate just below the far face must not leave the grid."""
    density = torch.ones(1, 1, 5, 5, dtype=torch.float64)
    at = torch.tensor([0.0, 1.0, 2.0, 5.0, 5.0 - 1e-15, 3.0, 0.0], dtype=torch.float64)
    tan = torch.tensor([0.0, 1.0, -1.0, -1.0, 0.0, -0.0, -1.0], dtype=torch.float64)
    layer = Layer(pad_density(density)[0], (5, 5), first_cells(torch.zeros(7).long(), (5, 5)))
    positions = torch.stack((at, torch.full_like(at, 2.5)))
    found = cross_layer(layer, positions, torch.stack((tan, torch.zeros_like(at))))
    inside = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(found.total, inside, rtol=1e-12, atol=0)
    torch.testing.assert_close(found.lever2, inside / 3, rtol=1e-12, atol=0)


def test_flights_through_corners_see_the_voxels_on_their_line():
    density = torch.rand(1, 1, 4, 4, generator=stream(22), dtype=torch.float64)
    at = torch.tensor([0.5, 0.25, 3.5, 0.0], dtype=torch.float64)
    tan = torch.tensor([1.0, 3.0, -2.0, 4.0], dtype=torch.float64)
    layer = Layer(pad_density(density)[0], (4, 4), first_cells(torch.zeros(4).long(), (4, 4)))
    found = cross_layer(layer, at.expand(2, 4), tan.expand(2, 4))
    diagonal = density[0, 0].diagonal()
    weights = torch.tensor(
        [[0.5, 0.5, 0, 0], [0.25, 1 / 3, 1 / 3, 1 / 12], [0, 0.25, 0.5, 0.25], [0.25] * 4]
    ).double()
    torch.testing.assert_close(found.total, weights @ diagonal, rtol=1e-7, atol=1e-7)


def test_full_ladles_scatter_more_than_empty_ones():
    world, scene = World(), LadleFurnaceSettings(heights=(0.6, 1.3), per_height=2)
    x0, _ = make_scene(world, scene, 1, "train")
    state, _ = transport(x0, world, MuonSettings(per_volume=3000), HighlandSettings(), 1, "train")
    kick = ((state[..., 6:8] - state[..., 2:4]) ** 2).sum(-1)
    assert kick[[1, 3]].mean() > 1.3 * kick[[0, 2]].mean()
    assert_same_mean(kick[0], kick[2])


def test_a_grid_of_another_world_is_refused():
    with pytest.raises(UserError, match=r"x0: got \(3, 3, 3\) voxels"):
        transport(torch.ones(1, 3, 3, 3), WORLD, MuonSettings(), HighlandSettings(), 1, "train")
