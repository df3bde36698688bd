"""Continuous sampling of energy and zenith angle from a published intensity.

The joint density is sampled in the Rosenblatt order: the zenith angle from its marginal, then the
energy from its conditional. Both inverse distributions are tabulated at even steps of probability,
in variables in which they are nearly straight lines (tan2 of the zenith angle, a negative power of
the energy), so that a linear look-up is enough. Weights are integrals over energy and angle, never
values at bin centres (spec D-03).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import MUON_MASS
from tomopt_tasks.muons import flux
from tomopt_tasks.muons.settings import FluxSettings, OwnFluxSettings

Intensity = Callable[[Tensor, Tensor], Tensor]

INTENSITIES: dict[str, Intensity] = {"shukla2016": flux.shukla2016, "guan2015": flux.guan2015}
SEPARABLE = frozenset({"shukla2016"})
"""Models whose energy spectrum is the same at all angles: one row of energies is enough."""

_KNOTS = 4096
_ROWS = 128
_ENERGIES = 2049
_ANGLES = 513
_SHIFT = 3.87
"""Energies are interpolated as (E + shift)^-2, since integral spectra fall about so [GeV]."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Inverse distributions of one source, and what its intensity integrates to."""

    tan2: Float[Tensor, " knot"]
    """tan2(zenith) at even steps of probability."""
    warped: Float[Tensor, "row knot"]
    """(E + shift)^-2 [GeV^-2] at even steps of zenith probability (rows) and of P(> E)."""
    rate: float
    """Muons through a horizontal plane [Hz/m2]."""
    mean_energy: float
    """Mean energy of the muons through a horizontal plane [GeV]."""


@lru_cache(maxsize=32)
def tabulate(source: FluxSettings) -> Spectrum:
    """Sampling tables of a source; equal settings give the same object."""
    return tabulate_intensity(source, INTENSITIES[source.kind], separable=source.kind in SEPARABLE)


def tabulate_intensity(
    source: FluxSettings | OwnFluxSettings, intensity_of: Intensity, *, separable: bool
) -> Spectrum:
    """Sampling tables of an intensity in the ranges of a source.

    Args:
        source: ranges of energy and angle.
        intensity_of: (energy [GeV], zenith [rad]) -> 1 / (m2 s sr GeV), broadcasting.
        separable: the energy spectrum is the same at all angles.
    """
    zenith = torch.linspace(*source.theta_range, _ANGLES, dtype=torch.float64)
    energy = _energies(source)
    intensity = intensity_of(energy, zenith[:, None])
    per_angle = torch.trapezoid(intensity, energy, dim=-1)
    horizontal = per_angle * zenith.cos() * zenith.sin()
    cdf = _cumulative(horizontal if source.solid_angle else per_angle, zenith)
    steps = torch.linspace(0.0, 1.0, _KNOTS + 1, dtype=torch.float64)
    rate = 2.0 * pi * torch.trapezoid(horizontal, zenith)
    energy_flux = torch.trapezoid(intensity * energy, energy, dim=-1) * zenith.cos() * zenith.sin()
    angles = _interpolate(steps[:: _KNOTS // _ROWS].contiguous(), cdf, zenith)
    return Spectrum(
        tan2=_interpolate(steps, cdf, zenith.tan() ** 2),
        warped=_energy_rows(
            _energies(source), intensity_of, angles[:1] if separable else angles, steps
        ),
        rate=float(rate),
        mean_energy=float(2.0 * pi * torch.trapezoid(energy_flux, zenith) / rate),
    )


def sample_tan_zenith(tan2: Float[Tensor, " knot"], u: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Tangent of the zenith angle at probability ``u`` in [0, 1); ``tan2`` is that of a table."""
    return _look_up(tan2, u * _KNOTS).sqrt()


def sample_momentum(
    spectrum: Spectrum, u_zenith: Float[Tensor, "*n"], u: Float[Tensor, "*n"]
) -> Float[Tensor, "*n"]:
    """Momentum [GeV] at probability ``u``, for the zenith angle that ``u_zenith`` gave."""
    rows, knots = spectrum.warped.shape
    row = (u_zenith * (rows - 1)).floor()
    low = row * knots + u * (knots - 1)
    table = spectrum.warped.flatten().to(u)
    warped = _look_up(table, low)
    if rows > 1:
        weight = u_zenith * (rows - 1) - row
        warped = torch.lerp(warped, _look_up(table, low + knots), weight)
    energy = warped.rsqrt() - _SHIFT
    return (energy**2 - MUON_MASS**2).sqrt()


def _energies(source: FluxSettings | OwnFluxSettings) -> Float[Tensor, " energy"]:
    low, high = torch.tensor(source.energy_range, dtype=torch.float64).log().tolist()
    return torch.linspace(low, high, _ENERGIES, dtype=torch.float64).exp()


def _energy_rows(
    energies: Float[Tensor, " energy"],
    intensity_of: Intensity,
    zenith: Float[Tensor, " angle"],
    steps: Float[Tensor, " knot"],
) -> Float[Tensor, "row knot"]:
    """Warped energies at even steps of the probability to lie above, for each zenith angle."""
    falling = energies.flip(0)
    warped = (falling + _SHIFT) ** -2
    intensity = intensity_of(falling, zenith[:, None])
    rows = [_interpolate(steps, _cumulative(row, -falling), warped) for row in intensity]
    return torch.stack(rows)


def _cumulative(density: Float[Tensor, " n"], x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Integral of the density up to each point, as a fraction of the whole."""
    area = torch.nn.functional.pad(torch.cumulative_trapezoid(density, x), (1, 0))
    return area / area[-1]


def _interpolate(
    at: Float[Tensor, " k"], x: Float[Tensor, " n"], y: Float[Tensor, " n"]
) -> Float[Tensor, " k"]:
    """Piecewise linear ``y(at)`` for rising ``x``."""
    right = torch.searchsorted(x, at, right=True).clamp(1, len(x) - 1)
    width = x[right] - x[right - 1]
    return torch.lerp(y[right - 1], y[right], ((at - x[right - 1]) / width).clamp(0.0, 1.0))


def _look_up(table: Float[Tensor, " k"], position: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Linear interpolation in a table at fractional positions."""
    left = position.floor()
    index = left.long().clamp(max=table.numel() - 2)
    low, high = (table.index_select(0, i.flatten()).view_as(i) for i in (index, index + 1))
    return low + (position - left) * (high - low)
