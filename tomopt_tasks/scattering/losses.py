"""Energy loss in grids of voxels, whose materials are recognised by their radiation lengths.

A grid holds radiation lengths alone; those of the table of materials differ from each other, so
that a voxel of one of them is known exactly. Materials without a stopping power in the table take
that of another one, by mass, with their own density (``ALIKE``; within 3 %, by the ratio of atomic
number to weight). Voxels of anything else, such as mixtures, are refused.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.core import MUON_MASS, UserError
from tomopt_tasks.materials import MATERIALS
from tomopt_tasks.scattering.nearest import nearest
from tomopt_tasks.scattering.stopping import (
    LEAST_ENERGY,
    StoppingPower,
    find_stopping_power,
    loss_at,
)

ALIKE = {
    "steel": "iron",
    "hot liquid steel": "iron",
    "slag": "CaCO3",
    "toluene": "polystyrene",
    "benzene": "polystyrene",
    "K2O": "CaO",
    "Na2O": "SiO2",
    "PVC": "SiO2",
}
"""Material -> the one whose loss per mass it is given."""

TOLERANCE = 1e-5
"""Relative distance to a tabulated radiation length within which a voxel is of that material."""

N_STEPS = 4
"""Steps of the midpoint rule in a layer of voxels."""


class Losses(NamedTuple):
    """Mean loss, at the minimum, at 1 and at 10 GeV of kinetic energy: a density, or on a path."""

    minimum: Float[Tensor, "*n"]
    one: Float[Tensor, "*n"]
    ten: Float[Tensor, "*n"]


def stopping_power(name: str) -> StoppingPower:
    """That of any material of the table, with the help of ``ALIKE``."""
    if name not in ALIKE:
        return find_stopping_power(name)
    other = ALIKE[name]
    factor = MATERIALS[name].density / MATERIALS[other].density
    power = find_stopping_power(other)
    return StoppingPower(power.minimum * factor, power.one * factor, power.ten * factor)


def loss_grids(x0: Float[Tensor, "*grid"]) -> Losses:
    """Losses per path in each voxel [GeV/m]; none in vacuum.

    Args:
        x0: radiation lengths [m]; infinite for vacuum.

    Raises:
        UserError: a voxel is of no material of the table.
    """
    materials = sorted(MATERIALS.values(), key=lambda material: material.x0)
    known = x0.new_tensor([material.x0 for material in materials])
    number = nearest(x0, known.log())
    vacuum = torch.isinf(x0)
    off = ~vacuum & ((x0 / known[number] - 1.0).abs() > TOLERANCE)
    if bool(off.any()):
        value = float(x0[off][0])
        near = materials[int(number[off][0])]
        raise UserError(
            f"energy loss: X0 = {value:.6g} m is that of no material of the table (the nearest is "
            f"{near.name}, {near.x0:g} m), so its loss is not known; use materials by name, "
            "without mixed voxels (vary), or leave energy_loss out"
        )
    powers = [stopping_power(material.name) for material in materials]
    columns = zip(*((p.minimum, p.one, p.ten) for p in powers), strict=True)
    return Losses(*(torch.where(vacuum, 0.0, x0.new_tensor(c)[number]) for c in columns))


def kinetic_behind(kinetic: Float[Tensor, " mu"], on_path: Losses) -> Float[Tensor, " mu"]:
    """Kinetic energy behind a layer [GeV]; muons that stop keep ``LEAST_ENERGY``.

    Args:
        kinetic: in front [GeV]; > 0.
        on_path: losses integrated along the flight [GeV].
    """
    part = Losses(*(loss / N_STEPS for loss in on_path))
    for _ in range(N_STEPS):
        half = (kinetic - 0.5 * loss_at(kinetic, *part)).clamp(min=LEAST_ENERGY)
        kinetic = (kinetic - loss_at(half, *part)).clamp(min=LEAST_ENERGY)
    return kinetic


def has_stopped(kinetic: Float[Tensor, " mu"]) -> Bool[Tensor, " mu"]:
    """Which muons have come to rest."""
    return kinetic <= LEAST_ENERGY


def momentum_of(kinetic: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Momenta of muons [GeV] of these kinetic energies [GeV]."""
    return torch.sqrt(kinetic * (kinetic + 2.0 * MUON_MASS))
