"""Laws of muon sources and of generators of objects."""

import pytest
import torch

import tomopt_tasks.volume as volumes
from tests.laws.parts import F64, GENERATORS, SHAPE, make_volume, members
from tomopt_tasks import muons
from tomopt_tasks.muons.generators import AbsMuonGenerator
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.passives import AbsPassiveGenerator

SOURCES = sorted(members(AbsMuonGenerator, "tomopt_tasks.muons"))


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("momentum", [5.0, None])
def test_muons_have_their_shape_precision_and_ranges(name, dtype, momentum):
    source = getattr(muons, name).from_volume(make_volume(dtype=dtype), fixed_mom=momentum)
    drawn = source(500, rng=stream(31, "source"))
    assert drawn.shape == (500, 5)
    assert drawn.dtype == dtype
    x, y, p, theta, phi = drawn.T
    assert (x >= source.x_range[0]).all()
    assert (y <= source.y_range[1]).all()
    assert (p > 0).all()
    assert (theta >= 0).all()
    assert (theta <= source.theta_range[1] + 1e-6).all()
    assert (phi >= 0).all()


@pytest.mark.parametrize("name", SOURCES)
def test_equal_streams_make_equal_muons(name):
    source = getattr(muons, name)((0.0, 1.0), (0.0, 1.0), fixed_mom=None)
    one, two, other = (source(50, rng=stream(seed, "source")) for seed in (31, 31, 32))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("name", SOURCES)
def test_flux_is_positive_and_differentiable(name):
    source = getattr(muons, name)((0.0, 1.0), (0.0, 1.0))
    energy = torch.tensor([0.6, 5.0, 300.0], dtype=F64, requires_grad=True)
    theta = torch.tensor([0.01, 0.7, 1.2], dtype=F64, requires_grad=True)
    assert (source.flux(energy, theta) > 0).all()
    assert torch.autograd.gradcheck(source.flux, (energy, theta), eps=1e-7, atol=1e-6)


def test_every_generator_of_objects_is_tried():
    assert volumes.RandomCargoPassiveGenerator
    for name in volumes.__all__:
        getattr(volumes, name)
    assert members(AbsPassiveGenerator, "tomopt_tasks.volume") == set(GENERATORS)


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_objects_fill_the_grid_with_radiation_lengths(name, dtype):
    volume = make_volume(dtype=dtype)
    generator = GENERATORS[name](volume=volume, rng=stream(31, name))
    for _ in range(10):
        volume.load_rad_length(*generator.get_data())
        cube = volume.get_rad_cube()
        assert cube.shape == SHAPE
        assert cube.dtype == dtype
        assert (cube > 0).all()


@pytest.mark.parametrize("name", GENERATORS)
def test_equal_streams_make_equal_objects_and_targets(name):
    volume = make_volume()
    drawn = []
    for _ in range(2):
        generator = GENERATORS[name](volume=volume, rng=stream(31, name))
        for _ in range(3):
            volume.load_rad_length(*generator.get_data())
            target = torch.zeros(1) if volume.target is None else volume.target
            drawn.append((volume.get_rad_cube().clone(), torch.as_tensor(target).clone()))
    for one, two in zip(drawn[:3], drawn[3:], strict=True):
        assert torch.equal(one[0], two[0])
        assert torch.equal(one[1], two[1])
