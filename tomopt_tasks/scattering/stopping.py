"""Energy loss of muons by continuous slowing down, without fluctuations.

Mean loss per path from four columns of the table of materials (minimum, 1 and 10 GeV of kinetic
energy; stopping powers of niess/pumas-materials 1.1): a straight line in ln T through 1 and 10 GeV,
not below the minimum, and below the minimum's energy the rise ``beta^(-5/3)`` (PDG review, passage
of particles through matter). Against the column at 4 GeV: within 2 %.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import MUON_MASS, UserError
from tomopt_tasks.materials import find_material

MINIMUM = 0.25
"""Kinetic energy at which the rise towards low speeds begins [GeV]."""

LEAST_ENERGY = 0.01
"""Kinetic energy that a muon keeps when it would stop [GeV]; so slow, it scatters anywhere."""

_MEV_CM2_PER_G = 1e-4
"""MeV cm2 / g times kg / m3, in GeV / m."""


@dataclass(frozen=True, slots=True)
class StoppingPower:
    """Mean energy loss of one material [GeV/m]."""

    minimum: float
    one: float
    """At 1 GeV of kinetic energy."""
    ten: float
    """At 10 GeV."""

    @classmethod
    def from_mass(cls, powers: tuple[float, float, float], density: float) -> "StoppingPower":
        """From the loss at the minimum, 1 and 10 GeV [MeV cm2/g], and the density [kg/m3]."""
        low, one, ten = (power * density * _MEV_CM2_PER_G for power in powers)
        return cls(low, one, ten)

    def __call__(self, kinetic: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Loss per metre of path [GeV/m] at kinetic energies [GeV]; > 0."""
        minimum, one, ten = (kinetic.new_tensor(p) for p in (self.minimum, self.one, self.ten))
        return loss_at(kinetic, minimum, one, ten)


def find_stopping_power(name: str) -> StoppingPower:
    """That of a material of the table.

    Raises:
        UserError: no such material, or the table has no stopping power for it.
    """
    material = find_material(name)
    table = files("tomopt_tasks").joinpath("materials.csv").read_text(encoding="utf-8")
    row = next(row for row in csv.DictReader(table.splitlines()) if row["name"] == name)
    columns = [row[f"dedx_{what}_MeV_cm2_g"] for what in ("min", "1GeV", "10GeV")]
    if not all(columns):
        raise UserError(
            f"material {name!r} has no stopping power in the table; give StoppingPower.from_mass "
            "the numbers of its main component and its density"
        )
    low, one, ten = (float(column) for column in columns)
    return StoppingPower.from_mass((low, one, ten), material.density)


def loss_at(
    kinetic: Float[Tensor, "*n"],
    minimum: Float[Tensor, "*#n"],
    one: Float[Tensor, "*#n"],
    ten: Float[Tensor, "*#n"],
) -> Float[Tensor, "*n"]:
    """The loss at kinetic energies [GeV], from those at the minimum, at 1 and at 10 GeV."""
    straight = one + (ten - one) / log(10.0) * torch.log(kinetic)
    return torch.maximum(straight, minimum) * low_speed_rise(kinetic)


def low_speed_rise(kinetic: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """``(beta at the minimum / beta)^(5/3)``, 1 above the minimum."""
    slowest = torch.full_like(kinetic, MINIMUM)
    return (_beta(slowest) / _beta(torch.minimum(kinetic, slowest))) ** (5.0 / 3.0)


def momentum_behind(
    momentum: Float[Tensor, "*n"],
    path: Float[Tensor, "*n"],
    power: StoppingPower,
    n_steps: int = 16,
) -> Float[Tensor, "*n"]:
    """Momentum behind a path in one material [GeV]; differentiable in both.

    Midpoint steps of equal length; muons that would stop keep ``LEAST_ENERGY``.

    Args:
        momentum: in front [GeV]; > 0.
        path: [m]; >= 0.
        power: of the material.
        n_steps: parts of the path; >= 1.
    """
    kinetic = kinetic_energy(momentum)
    step = path / n_steps
    for _ in range(n_steps):
        half = (kinetic - 0.5 * step * power(kinetic)).clamp(min=LEAST_ENERGY)
        kinetic = (kinetic - step * power(half)).clamp(min=LEAST_ENERGY)
    return torch.sqrt(kinetic * (kinetic + 2.0 * MUON_MASS))


def kinetic_energy(momentum: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Kinetic energy of muons [GeV] of these momenta [GeV]."""
    energy = torch.sqrt(momentum**2 + MUON_MASS**2)
    return momentum**2 / (energy + MUON_MASS)  # = energy - mass, without loss of digits


def _beta(kinetic: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    momentum2 = kinetic * (kinetic + 2.0 * MUON_MASS)
    return torch.sqrt(momentum2) / (kinetic + MUON_MASS)
