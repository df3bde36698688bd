"""Moliere's theory of multiple scattering as a compound Poisson process, and tables made from it.

Single scatters off screened nuclei and electrons give a transverse momentum ``q`` with the rate,
per radiation length, ``2 c^2 q dq [1 / (q^2 + a^2) - 1 / (q^2 + b^2)]^2``: Moliere's strength
``c`` and screening ``a`` (Bethe, Phys. Rev. 89 (1953) 1256; constants as in Lynch and Dahl, NIM B58
(1991) 6), cut at large ``q`` by the size of the nucleus, a monopole form factor with ``b = sqrt(6)
/ radius``.
The spatial angle times beta p behind ``n`` radiation lengths has the Hankel transform
``exp(-n c^2 S(k))``, with ``S`` in closed form; for ``b`` infinite
``c^2 S = collisions (1 - k a K1(k a))``. No expansion in 1/B is made, so thin layers are right too,
and two layers are exactly one of their sum.

Angles are small, energy is not lost, and beta is 1 in the screening (below 4 % of ``a^2`` for
momenta above 0.2 GeV). Momenta in GeV, angles times beta p in rad GeV.
"""

from itertools import pairwise
from math import exp, log, pi, sqrt
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.materials import Material
from tomopt_tasks.scattering.bessel import bessel_j1, one_minus_x_k1

ELEMENTS = (
    (3, 6.94, 82.77), (4, 9.012, 65.19), (6, 12.011, 42.70), (7, 14.007, 37.99),
    (8, 15.999, 34.24), (13, 26.982, 24.01), (14, 28.086, 21.82), (22, 47.867, 16.16),
    (26, 55.845, 13.84), (29, 63.546, 12.86), (47, 107.87, 8.97), (50, 118.71, 8.82),
    (74, 183.84, 6.76), (79, 196.97, 6.46), (82, 207.2, 6.37), (92, 238.03, 6.00),
    (94, 244.06, 5.93),
)  # fmt: skip
"""Atomic number, atomic weight and radiation length [g/cm2] (PDG 2020-2024)."""

FINE_STRUCTURE = 1.0 / 137.036
_NODES = 8
"""Points of Gauss and Legendre's rule on each panel of an integral."""
_NEGLIGIBLE = 30.0
"""Exponent beyond which a transform has ended."""


class Scatter(NamedTuple):
    """What a material does to a muon, per radiation length."""

    strength: float
    """``c`` [GeV]."""
    screening: float
    """``a`` [GeV]."""
    size: float
    """``b`` [GeV]; infinite for point nuclei."""

    @property
    def collisions(self) -> float:
        """Mean number of scatters in a radiation length."""
        return float(self.strength**2 * _moment(self))


def atomic_number(x0_mass: float) -> tuple[float, float]:
    """Effective atomic number and weight of a material, from its radiation length [g/cm2].

    Between the elements the number is interpolated in the logarithms, which for compounds and
    mixtures gives the element that scatters alike.
    """
    if x0_mass >= ELEMENTS[0][2]:
        return float(ELEMENTS[0][0]), ELEMENTS[0][1]
    for (z1, a1, x1), (z2, a2, x2) in pairwise(ELEMENTS):
        if x0_mass >= x2:
            part = log(x1 / x0_mass) / log(x1 / x2)
            z = z1 * (z2 / z1) ** part
            return z, z * (a1 / z1 + part * (a2 / z2 - a1 / z1))
    return float(ELEMENTS[-1][0]), ELEMENTS[-1][1]


def scatter_of(x0_mass: float, *, point: bool = False) -> Scatter:
    """Strength, screening and cut of a material.

    ``c^2 = 0.157 MeV^2 Z (Z + 1) / A X0``, ``a^2 = 2.007e-5 MeV^2 Z^(2/3) (1 + 3.34 (Z alpha)^2)``
    (Lynch and Dahl, equations 3 and 5), nuclear charge radius 0.94 A^(1/3) fm.

    Args:
        x0_mass: radiation length [g/cm2].
        point: whether nuclei are points, as in Moliere's own theory.
    """
    z, a = atomic_number(x0_mass)
    strength = 1e-3 * sqrt(0.157 * z * (z + 1.0) / a * x0_mass)
    screening = 1e-3 * sqrt(2.007e-5 * z ** (2 / 3) * (1.0 + 3.34 * (z * FINE_STRUCTURE) ** 2))
    size = float("inf") if point else sqrt(6.0) * 0.19733 / (0.94 * a ** (1 / 3))
    return Scatter(strength, screening, size)


def x0_mass_of(material: Material) -> float:
    """Radiation length of a material of the table [g/cm2]."""
    return 0.1 * material.x0 * material.density


def exponent(k: Float[Tensor, "*n"], scatter: Scatter) -> Float[Tensor, "*n"]:
    """``c^2 S(k)``: minus the logarithm of the transform behind one radiation length.

    Args:
        k: conjugate to the angle times beta p [1 / GeV]; >= 0.
        scatter: of the material.
    """
    _, a, b = scatter
    k = k.clamp(min=1e-12 / a)
    left = one_minus_x_k1(k * a) / (a * a)
    if b < float("inf"):
        k0 = torch.special.modified_bessel_k0
        mixed = 2.0 * log(b / a) - 2.0 * (k0(k * a) - k0(k * b))
        left = left + one_minus_x_k1(k * b) / (b * b) - 2.0 * mixed / (b * b - a * a)
    return scatter.strength**2 * left.clamp(min=0.0)


def _moment(scatter: Scatter) -> float:
    """Integral of the rate over all q, in units of ``c^2``."""
    _, a, b = scatter
    if b == float("inf"):
        return 1.0 / (a * a)
    return 1.0 / (a * a) + 1.0 / (b * b) - 4.0 * log(b / a) / (b * b - a * a)


def spatial_survival(
    angle: Float[Tensor, " angle"], thickness: float, scatter: Scatter
) -> Float[Tensor, " angle"]:
    """Fraction of muons that are scattered by more than each angle.

    ``1 - angle * integral J1(k angle) exp(-thickness c^2 S(k)) dk``.

    Args:
        angle: times beta p [rad GeV]; > 0; all take as long as the largest.
        thickness: [radiation lengths]; more than 31 collisions, so that all muons are scattered.
        scatter: of the material.
    """
    k, weight = _panels(float(angle.max()), thickness, scatter)
    weight = weight * torch.exp(-thickness * exponent(k, scatter))
    inside = torch.stack([bessel_j1(each * k) @ weight for each in angle])  # one by one: memory
    return 1.0 - angle * inside


def projected_fraction(angle: float, thickness: float, scatter: Scatter) -> float:
    """Fraction of muons whose projected angle lies within +- an angle; see ``spatial_survival``."""
    k, weight = _panels(angle, thickness, scatter)
    transform = torch.exp(-thickness * exponent(k, scatter))
    return float((weight * torch.sin(k * angle) / k * transform).sum() * 2.0 / pi)


def central_width(thickness: float, scatter: Scatter, fraction: float = 0.98) -> float:
    """RMS projected angle of the central part of all muons [rad GeV].

    With 98 % this is the width that Highland's formula was fitted to by Lynch and Dahl.
    """
    low, high = 1e-5 * sqrt(thickness), 1.0 * sqrt(thickness)
    while high - low > 1e-6 * high:
        middle = 0.5 * (low + high)
        inside = projected_fraction(middle, thickness, scatter) < fraction
        low, high = (middle, high) if inside else (low, middle)
    node, weight = _gauss(24)
    x = 0.5 * high * (node + 1.0)
    within = [projected_fraction(float(each), thickness, scatter) for each in x]
    below = float((0.5 * high * weight * x * torch.tensor(within, dtype=torch.float64)).sum())
    return sqrt(high * high - 2.0 * below / fraction)


def quantiles(
    scatter: Scatter, thickness: Float[Tensor, " thickness"], radius: Float[Tensor, " radius"]
) -> Float[Tensor, "thickness radius"]:
    """The spatial angle that as many muons exceed as pairs of normal numbers exceed a radius.

    Args:
        scatter: of the material.
        thickness: [radiation lengths]; see ``spatial_survival``.
        radius: ascending; > 0.

    Returns:
        Angles times beta p [rad GeV].
    """
    return torch.stack([_row(scatter, float(n), radius) for n in thickness])


def _row(scatter: Scatter, thickness: float, radius: Float[Tensor, " r"]) -> Float[Tensor, " r"]:
    """Angles at ascending radii, interpolated in logarithms between angles 5 % apart."""
    octave = 2.0 ** (torch.arange(14, dtype=torch.float64) / 14.0)
    first = 0.002 * sqrt(thickness) * float(radius[0])
    angles: list[Tensor] = []
    survivals: list[Tensor] = []
    last = 0.5 * float(radius[-1]) ** 2
    while not survivals or float(survivals[-1][-1]) > exp(-last):
        angles.append(first * 2.0 ** len(angles) * octave)
        survivals.append(spatial_survival(angles[-1], thickness, scatter))
    survival = torch.cat(survivals)
    kept = survival > 1e-12
    x = 0.5 * torch.log(-2.0 * survival[kept].log())
    y, wanted = torch.cat(angles)[kept].log(), radius.log()
    upper = torch.searchsorted(x, wanted).clamp(1, len(x) - 1)
    part = (wanted - x[upper - 1]) / (x[upper] - x[upper - 1])
    return torch.exp(y[upper - 1] + part * (y[upper] - y[upper - 1]))


def _panels(angle: float, thickness: float, scatter: Scatter) -> tuple[Tensor, Tensor]:
    """Points and weights of an integral over all k that a transform does not end before."""
    last = _end(thickness, scatter)
    width = min(2.0 / angle, last / 64.0)
    n_panels = int(last / width) + 1
    node, weight = _gauss()
    edges = torch.arange(n_panels, dtype=torch.float64) * (last / n_panels)
    half = 0.5 * last / n_panels
    return (edges[:, None] + half * (node + 1.0)).flatten(), (half * weight).repeat(n_panels)


def _end(thickness: float, scatter: Scatter) -> float:
    """Where a transform has ended [1 / GeV]."""
    k = torch.logspace(-2.0, 3.0, 501, dtype=torch.float64) / (scatter.strength * sqrt(thickness))
    ended = thickness * exponent(k, scatter) > _NEGLIGIBLE
    return float(k[int(ended.int().argmax())]) if bool(ended.any()) else float(k[-1])


def _gauss(n_nodes: int = _NODES) -> tuple[Tensor, Tensor]:
    """Nodes and weights of Gauss and Legendre's rule on -1 to 1 (Golub and Welsch)."""
    n = torch.arange(1, n_nodes, dtype=torch.float64)
    beside = n / torch.sqrt(4.0 * n * n - 1.0)
    matrix = torch.diag(beside, 1) + torch.diag(beside, -1)
    node, vector = torch.linalg.eigh(matrix)
    return node, 2.0 * vector[0] ** 2
