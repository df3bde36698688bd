"""Multiple scattering against the closed forms of the PDG review; 5 sigma, fixed streams."""

from math import cos, radians, sqrt, tan

import pytest
import torch

from tests.stats import assert_correlation, assert_mean, assert_normal, assert_rms
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.highland import (
    highland_angle,
    log_offset,
    path_power,
)
from tomopt_tasks.scattering.kick import LARGEST_KICK, scatter_slopes
from tomopt_tasks.scattering.moments import Depth, Moments, draw_kicks, power_moments, shift_lever
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.passive import scatter_through
from tomopt_tasks.volume.flight import go_on

N = 100_000
MOMENTA = (0.5, 1.0, 3.0, 5.0, 10.0)
# facts 2.1: x/X0 of 10 cm, then theta0 [mrad] at MOMENTA [GeV]
SLABS = {
    "beryllium": (0.1 / 0.3528, (14.12, 6.94, 2.30, 1.38, 0.69)),
    "graphite": (0.1 / 0.1932, (19.53, 9.60, 3.18, 1.91, 0.95)),
    "water": (0.1 / 0.3608, (13.95, 6.85, 2.27, 1.36, 0.68)),
    "aluminium": (0.1 / 0.08897, (29.65, 14.57, 4.83, 2.90, 1.45)),
    "concrete": (0.1 / 0.1155, (25.77, 12.66, 4.20, 2.52, 1.26)),
    "iron": (0.1 / 0.01757, (70.82, 34.80, 11.54, 6.92, 3.46)),
    "copper": (0.1 / 0.01436, (78.90, 38.77, 12.85, 7.71, 3.85)),
    "lead": (0.1 / 0.005612, (130.4, 64.07, 21.24, 12.74, 6.37)),
    "uranium": (0.1 / 0.003166, (177.0, 86.98, 28.84, 17.30, 8.65)),
}


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def normals(*shape, name="kicks"):
    return torch.randn(*shape, generator=stream(11, name), dtype=torch.float64)


def slab(n_layers, radiation_lengths, n=N, slope=(0.0, 0.0), momentum=5.0, **settings):
    """Muons through a wide uniform slab of unit thickness, cut into cubes; lengths in slabs."""
    wide = 8 * n_layers + 1
    x0 = 1.0 / torch.full((1, n_layers, wide, wide), radiation_lengths).double()
    start = torch.full((1, n), wide / 2 / n_layers).double()
    tans = tuple(torch.full_like(start, t) for t in slope)
    noise = normals(1, n_layers, 4, n, name=f"slab {n_layers}")
    x, y, *out = scatter_through(
        x0,
        1.0 / n_layers,
        (start, start, *tans),
        start * 0 + momentum,
        noise,
        HighlandSettings(**settings),
    )
    shift = tuple((at - start - t).flatten() for at, t in zip((x, y), slope, strict=True))
    return shift, tuple(t.flatten() for t in out)


@pytest.mark.parametrize("material", SLABS)
def test_highland_width_is_the_published_one(material):
    thickness, widths = SLABS[material]
    found = 1e3 * highland_angle(tensor(*MOMENTA), torch.full((5,), thickness).double())
    torch.testing.assert_close(found, tensor(*widths), rtol=3e-3, atol=6e-3)


def test_highland_width_has_the_golden_numbers_of_one_step():
    thickness = tensor(0.01 / 0.005612, 0.01 / 0.01757, 0.01 / 303.9, 0.1 / 0.005612)
    found = highland_angle(torch.full_like(thickness, 5.0), thickness, beta=False)
    expected = tensor(3.710568636e-3, 2.008078320e-3, 9.482920e-6, 1.273848574e-2)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)


@pytest.mark.parametrize(
    ("momentum", "ratio"), [(0.2, 1.131), (0.5, 1.022), (1.0, 1.0056), (3.0, 1.0006)]
)
def test_slow_muons_scatter_more_by_beta(momentum, ratio):
    p, n = tensor(momentum), tensor(0.1 / 0.01757)
    found = highland_angle(p, n) / highland_angle(p, n, beta=False)
    # the published ratios leave beta out of the logarithm, which adds up to 1 %
    assert found.item() == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize("n_layers", [1, 2, 7, 20])
@pytest.mark.parametrize("material", ["beryllium", "lead"])
def test_d21_width_behind_a_slab_does_not_depend_on_the_steps(material, n_layers):
    """D-21: with the logarithm in each step ten steps of lead gave 11.7 mrad instead of 12.7."""
    thickness = SLABS[material][0]
    (_, _), (tan_x, tan_y) = slab(n_layers, thickness)
    expected = highland_angle(tensor(5.0), tensor(thickness)).item()
    assert_normal(tan_x.atan(), expected)
    assert_rms(tan_y.atan(), expected)


def test_d21_moments_of_a_slab_are_the_sum_of_its_parts():
    whole, parts = (moments_of(17.8, k) for k in (1, 64))
    torch.testing.assert_close(whole.total, parts.total, rtol=1e-12, atol=0)
    # displacement: Simpson's rule in one part against 64 parts, RMS within 1 %
    torch.testing.assert_close(whole.lever, parts.lever, rtol=0.01, atol=0)
    torch.testing.assert_close(whole.lever2.sqrt(), parts.lever2.sqrt(), rtol=0.01, atol=0)


def moments_of(thickness, n_parts):
    """Moments of a uniform slab of unit path, put together from equal parts."""
    zero, length = tensor(0.0), 1.0 / n_parts
    total, depth = Moments(zero, zero, zero), Depth(zero, zero)
    for k in range(n_parts):
        n = tensor(thickness * length)
        matter = Moments(n, n * length / 2, n * length**2 / 3)
        part, depth = power_moments(matter, depth, log_offset(tensor(5.0)))
        left = 1.0 - length * (k + 1)  # negative shift: the part acts earlier than the end
        total = Moments(*(a + b for a, b in zip(total, shift_lever(part, -left), strict=True)))
    return total


def test_d21_power_never_falls_with_depth():
    """D-21: below n = 3.7e-12 the bracket of the formula is negative."""
    depth = torch.logspace(-30, 3, 1000, dtype=torch.float64)
    power = path_power(depth, torch.ones_like(depth))
    assert (power.diff() >= 0).all()
    assert power[0] == 0
    assert path_power(tensor(0.0), tensor(1.0)) == 0


def test_compat_log_per_step_has_the_golden_number():
    """Ten 1 cm steps in 10 cm of lead at 5 GeV, beta = 1."""
    settings = {"log_term": "step", "beta": False, "step": 0.1}  # ten layers, each is one step
    (_, _), (tan_x, _) = slab(10, 0.1 / 0.005612, **settings)
    assert_rms(tan_x.atan(), 1.173384831e-2)


@pytest.mark.parametrize("n_layers", [1, 2, 10])
def test_d01_displacement_and_deflection_point_the_same_way(n_layers):
    """D-01: the correlation was -0.866 in a step, and 0.81 in a layer of ten steps."""
    (dx, dy), (tan_x, tan_y) = slab(n_layers, 5.69, log_term="none")
    assert_correlation(dx, tan_x.atan(), sqrt(3) / 2)
    assert_correlation(dy, tan_y.atan(), sqrt(3) / 2)


@pytest.mark.parametrize("n_layers", [1, 2, 10])
def test_d01_displacement_does_not_depend_on_the_steps(n_layers):
    (dx, dy), (tan_x, _) = slab(n_layers, 5.69, log_term="none", beta=False)
    theta0 = 0.0136 / 5.0 * sqrt(5.69)
    assert_rms(tan_x.atan(), theta0)
    assert_rms(dx, theta0 / sqrt(3))
    assert_mean(dy, 0.0)


def test_displacement_with_the_logarithm_does_not_depend_on_the_steps():
    one, ten = (torch.cat(slab(k, 5.69)[0]) for k in (1, 10))
    assert one.square().mean().sqrt() == pytest.approx(ten.square().mean().sqrt().item(), rel=0.01)


def test_compat_sign_anticorrelates_a_step_and_shortens_the_lever():
    """What D-01 says of the old code: -0.866 in one step, 0.81 and 0.314 mm in ten."""
    (dx, _), (tan_x, _) = slab(1, 5.69, log_term="none", displacement_sign=-1, step=1.0)
    assert_correlation(dx, tan_x.atan(), -sqrt(3) / 2)
    width = 2.008078320e-3 * sqrt(10)  # ten steps in iron, 5 GeV
    one = tensor(width**2)
    moments = shift_lever(Moments(one, one / 2, one / 3), 0.1)  # 10 cm, steps of 1 cm
    assert 100 * moments.lever2.sqrt().item() == pytest.approx(0.314, abs=0.002)  # mm
    assert (moments.lever / (moments.lever2 * moments.total).sqrt()).item() == pytest.approx(
        0.81, abs=0.005
    )


@pytest.mark.parametrize("n_layers", [1, 5])
def test_slanted_muons_scatter_isotropically_over_their_longer_path(n_layers):
    zenith, azimuth = radians(55.0), radians(200.0)
    slope = (tan(zenith) * cos(azimuth), tan(zenith) * cos(azimuth - radians(90.0)))
    thickness = 0.5
    shift, out = slab(n_layers, thickness, slope=slope, momentum=20.0, log_term="none")
    theta0 = 0.0136 / 20.0 * sqrt(thickness / cos(zenith)) * sqrt(1 + (0.10566 / 20) ** 2)
    flight, e0, e1 = frame(*slope)
    new = torch.stack((*out, -torch.ones(N).double()), -1)
    along, path = new @ flight, 1 / cos(zenith)
    point = torch.stack((*shift, torch.zeros(N).double()), -1)
    for axis in (e0, e1):
        kick = (new @ axis) / along
        assert_rms(kick, theta0)
        moved = point @ axis
        assert_rms(moved, path * theta0 / sqrt(3))
        assert_correlation(moved, kick, sqrt(3) / 2)
    assert_correlation((new @ e0) / along, (new @ e1) / along, 0.0)


def frame(tan_x, tan_y):
    """Flight direction and the two normals of the spec, built from angles."""
    t = torch.hypot(tensor(tan_x), tensor(tan_y)).atan()
    f = torch.atan2(tensor(tan_y), tensor(tan_x))
    zero = torch.zeros(1).double()
    flight = torch.cat((t.sin() * f.cos(), t.sin() * f.sin(), -t.cos()))
    e0 = torch.cat((-f.sin(), f.cos(), zero))
    e1 = torch.cat((-t.cos() * f.cos(), -t.cos() * f.sin(), -t.sin()))
    return flight, e0, e1


def test_new_direction_and_crossing_are_those_of_the_formula():
    slope = (0.7, -0.4)
    kicks, shifts = (0.03, -0.05), (0.002, 0.001)
    flight, e0, e1 = frame(*slope)
    direction = flight + tan(kicks[0]) * e0 + tan(kicks[1]) * e1
    point = shifts[0] * e0 + shifts[1] * e1
    crossing = point - direction * (point[2] / direction[2])
    turn, shift = scatter_slopes(*(tensor(*pair) for pair in (slope, kicks, shifts)))
    new = tensor(*slope) + turn
    torch.testing.assert_close(new, -direction[:2] / direction[2], rtol=1e-12, atol=0)
    torch.testing.assert_close(shift, crossing[:2], rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("turn", [0.3, 1.57079632679, 3.0, 5.0])
def test_scattering_turns_with_the_frame(turn):
    c, s = torch.tensor(turn).double().cos(), torch.tensor(turn).double().sin()

    def rotate(pair):
        return torch.stack((c * pair[0] - s * pair[1], s * pair[0] + c * pair[1]))

    slope = torch.stack((normals(100, name="x"), normals(100, name="y")))
    kicks, shifts = (torch.stack([0.1 * normals(100, name=f"{k}{i}") for i in "01"]) for k in "ab")
    change, shift = scatter_slopes(slope, kicks, shifts)
    turned, turned_shift = scatter_slopes(rotate(slope), kicks, shifts)
    for found, expected in ((turned, rotate(change)), (turned_shift, rotate(shift))):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_vertical_muons_are_the_limit_of_slightly_slanted_ones():
    kicks, shifts = tensor(0.02, -0.03), tensor(0.001, 0.002)
    exact = scatter_slopes(tensor(0.0, 0.0), kicks, shifts)
    near = scatter_slopes(tensor(1e-9, 0.0), kicks, shifts)
    for found, expected in zip(near, exact, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_d23_vertical_muons_and_negative_zero_give_finite_slopes():
    """D-23: arctan(tan y / tan x) made NaN of a vertical muon and -pi/2 of tan x = -0.0."""
    zero = tensor(0.0, -0.0, 0.0).expand(2, 3)
    for part in scatter_slopes(zero, zero, zero):
        assert (part.abs() < 1e-17).all()


def test_d23_vacuum_does_not_scatter():
    """D-23: log(0) * 0 made NaN of muons in vacuum, which were then deleted."""
    shift, out = slab(3, 0.0, n=100, slope=(0.3, -0.2))
    torch.testing.assert_close(out[0], torch.full_like(out[0], 0.3), rtol=0, atol=0)
    assert torch.stack(shift).abs().max() < 1e-13


def test_d20_kicks_are_bounded_alike_on_both_sides():
    """D-20: kicks were clamped from above only; very negative ones wrapped through the tangent."""
    zero = tensor(0.0, 0.0)
    up, _ = scatter_slopes(zero, tensor(50.0, 0.0), zero)
    down, _ = scatter_slopes(zero, tensor(-50.0, 0.0), zero)
    torch.testing.assert_close(up[1], -down[1], rtol=0, atol=0)
    assert up[1].atan().item() == pytest.approx(LARGEST_KICK)


def test_kicks_are_as_often_positive_as_negative():
    one = torch.ones(N).double()
    kicks, shifts = draw_kicks(Moments(one, one / 2, one / 3), one * 0.01, normals(4, N))
    for sample in (*kicks, *shifts):
        assert_mean((sample > 0).double() - 0.5, 0.0)
        assert_mean(sample**3, 0.0)


def test_muons_that_would_turn_back_stay_finite():
    slope = tensor(2.5, 0.0)
    turn, shift = scatter_slopes(slope, tensor(0.0, -1.4), tensor(0.1, 0.2))
    assert torch.isfinite(torch.cat((turn, shift))).all()
    at = torch.zeros(2, 1).double()
    _, behind = go_on(at, slope[:, None], turn[:, None], shift[:, None])
    assert 10 < torch.hypot(*behind) < 30
