"""The muon generators of the notebook interface (spec 2.2)."""

from dataclasses import dataclass, field
from math import radians

import pytest
import torch

from tests.stats import assert_mean
from tomopt_tasks.core import MUON_MASS, UserError
from tomopt_tasks.muons.generators import (
    AbsMuonGenerator,
    MuonGenerator2015,
    MuonGenerator2016,
)
from tomopt_tasks.rng import stream

BOTH = (MuonGenerator2015, MuonGenerator2016)


@dataclass
class Box:
    """The part of a volume that a source looks at."""

    lw: torch.Tensor = field(default_factory=lambda: torch.tensor([1.0, 1.0]).double())
    h: torch.Tensor = field(default_factory=lambda: torch.tensor([1.0]))
    passive_size: float = 0.1

    def get_passive_z_range(self):
        return torch.tensor([0.2]), torch.tensor([0.8])


@pytest.mark.parametrize("generator", BOTH)
def test_muons_lie_in_the_ranges_that_were_asked_for(generator):
    gen = generator((0.1, 0.2), (-1.0, 2.0), None, (1.0, 3.0), (0.2, 0.4))
    x, y, p, theta, phi = gen(5000, stream(1, "gen")).unbind(1)
    energy = (p**2 + MUON_MASS**2).sqrt()
    for values, low, high in (
        (x, 0.1, 0.2),
        (y, -1.0, 2.0),
        (energy, 1.0, 3.0),
        (theta, 0.2, 0.4),
        (phi, 0.0, 2 * torch.pi),
    ):
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert values.max() - values.min() > 0.9 * (high - low)


def test_fixed_momentum_is_the_default():
    muons = MuonGenerator2016((0.0, 1.0), (0.0, 1.0))(10)
    assert muons.shape == (10, 5)
    assert (muons[:, 2] == 5.0).all()
    assert "5.0 GeV" in repr(MuonGenerator2016((0.0, 1.0), (0.0, 1.0)))
    assert "energies 0.5 to 500" in repr(MuonGenerator2016((0.0, 1.0), (0.0, 1.0), None))


@pytest.mark.parametrize(
    ("generator", "value"), [(MuonGenerator2015, 1.445539e-4), (MuonGenerator2016, 1.554154586)]
)
def test_flux_has_the_published_unit(generator, value):
    gen = generator((0.0, 1.0), (0.0, 1.0))
    assert gen.flux(5.0, 0.5).item() == pytest.approx(value, rel=1e-6)
    assert gen.flux(torch.ones(3, 1), torch.zeros(4)).shape == (3, 4)


@pytest.mark.parametrize(
    ("generator", "mean"), [(MuonGenerator2015, 6.77), (MuonGenerator2016, 4.69)]
)
def test_d03_spectrum_has_the_mean_energy_of_the_flux(generator, mean):
    """D-03: the means were 2.04 and 1.70 GeV."""
    p = generator((0.0, 1.0), (0.0, 1.0), None)(200_000, stream(2, "gen"))[:, 2].double()
    assert_mean((p**2 + MUON_MASS**2).sqrt(), mean)


def test_d37_source_above_a_volume_has_the_golden_margin():
    """tan(15 deg) * (1 - 0.2 + 0.1); minus the voxel would reach as far (D-37, harmless)."""
    gen = MuonGenerator2016.from_volume(Box())
    assert gen.x_range == pytest.approx((-0.2411543, 1.2411543), abs=1e-6)
    assert gen(3).dtype == torch.float64
    wide = MuonGenerator2016.from_volume(Box(), min_angle=radians(45))
    assert wide.y_range == pytest.approx((-0.9, 1.9), abs=1e-6)


def test_d48_streams_make_muons_repeatable():
    """D-48: numbers came from three global generators."""
    gen = MuonGenerator2016((0.0, 1.0), (0.0, 1.0))
    assert torch.equal(gen(5, stream(3)), gen.generate_set(5, stream(3)))
    assert not torch.equal(gen(5), gen(5))
    twin = MuonGenerator2016((0.0, 1.0), (0.0, 1.0))
    assert torch.equal(MuonGenerator2016((0.0, 1.0), (0.0, 1.0))(5), twin(5))


def test_rate_is_flux_times_area():
    assert MuonGenerator2016((0.0, 2.0), (0.0, 3.0)).rate == pytest.approx(6 * 136.2, rel=0.02)


def falling(energy, theta):
    """A power law that is flat in the angle: density in (E, theta) with the factor of the angle."""
    return energy**-3.0 * theta.cos() * theta.sin()


class OwnFlux(AbsMuonGenerator):
    def flux(self, energy, theta):
        return falling(energy, theta)


class OtherFlux(MuonGenerator2016):
    def flux(self, energy, theta):
        return falling(energy, theta)


@pytest.mark.parametrize("generator", [OwnFlux, OtherFlux])
def test_a_flux_of_a_users_own_is_what_is_drawn_from(generator):
    gen = generator.from_volume(Box(), fixed_mom=None, energy_range=(1.0, 10.0))
    _, _, p, theta, _ = gen(40_000, stream(3, "own")).unbind(1)
    energy = (p**2 + MUON_MASS**2).sqrt()
    # E^-3 from 1 to 10: mean (1 - 1/10) / ((1 - 1/100) / 2); sin2 is even from 0 to sin2(70 deg)
    assert_mean(energy, 0.9 / 0.495)
    assert_mean(theta.sin() ** 2, 0.5 * torch.sin(torch.tensor(radians(70.0))).item() ** 2)
    # 2 pi x 0.495 x sin2(70 deg) / 2 over the area
    wanted = torch.pi * 0.495 * torch.sin(torch.tensor(radians(70.0))).item() ** 2
    assert gen.rate == pytest.approx(wanted * gen.plane.area, rel=1e-4)


def test_a_flux_that_is_no_flux_is_refused():
    class Negative(AbsMuonGenerator):
        def flux(self, energy, theta):
            return -falling(energy, theta)

    with pytest.raises(UserError, match=r"Negative\.flux gives values that are negative"):
        Negative((0.0, 1.0), (0.0, 1.0))(10)
