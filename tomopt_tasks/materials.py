"""Radiation lengths and densities by name, and the mixture rule. Imports no torch.

The numbers are those of ``data/inputs/materials.csv`` (units and sources in its columns), which is
installed with the package.
"""

import csv
import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from tomopt_tasks.core import UserError


@dataclass(frozen=True, slots=True)
class Material:
    """A homogeneous material."""

    name: str
    x0: float
    """Radiation length [m]."""
    density: float
    """[kg/m3]."""
    benchmark: bool
    """Whether it belongs to the published benchmarks' table; the others extend it."""


def _read() -> Iterator[Material]:
    table = files("tomopt_tasks").joinpath("materials.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(table.splitlines()):
        yield Material(
            name=row["name"],
            x0=float(row["x0_m"]),
            density=float(row["density_kg_m3"]),
            benchmark=row["benchmark"] == "yes",
        )


MATERIALS: Final[Mapping[str, Material]] = MappingProxyType({m.name: m for m in _read()})
"""Every known material by name, those of the benchmarks first."""

X0: Final[Mapping[str, float]] = MappingProxyType(
    {m.name: m.x0 for m in MATERIALS.values() if m.benchmark}
)
"""Radiation lengths [m] of the benchmarks' 23 materials, in their published order."""

DENSITIES: Final[Mapping[str, float]] = MappingProxyType(
    {m.name: m.density for m in MATERIALS.values() if m.benchmark}
)
"""Densities [kg/m3] of the same materials."""


def find_material(name: str) -> Material:
    """The material of this name.

    Raises:
        UserError: no such material; the message offers the nearest names.
    """
    if name in MATERIALS:
        return MATERIALS[name]
    by_lower = {known.lower(): known for known in MATERIALS}
    near = difflib.get_close_matches(name.lower(), by_lower, n=3)
    offer = [by_lower[match] for match in near] or list(MATERIALS)
    msg = f"material {name!r} is not known; use one of {', '.join(offer)}, or give X0 in metres"
    raise UserError(msg)


def x0_from_mixture(
    x0s: Iterable[float],
    densities: Iterable[float],
    weight_fracs: Iterable[float] | None = None,
    volume_fracs: Iterable[float] | None = None,
) -> dict[str, float]:
    """Radiation length and density of a mixture.

    1 / (X0 rho) = sum_i w_i / (X0_i rho_i) and 1 / rho = sum_i w_i / rho_i, with weight fractions
    w_i normalised to 1; volume fractions v_i give w_i = rho_i v_i. Source: PDG review, passage of
    particles through matter, mixtures.

    Args:
        x0s: radiation lengths [m], or all in another unit of length; > 0.
        densities: in any one unit; > 0.
        weight_fracs: parts by weight, of any sum; >= 0.
        volume_fracs: parts by volume, of any sum; >= 0. Give exactly one of the two.

    Returns:
        ``{"X0": ..., "density": ...}`` in the units of the arguments.

    Raises:
        ValueError: both or neither fractions, unequal lengths, or numbers out of range.
    """
    if (weight_fracs is None) == (volume_fracs is None):
        msg = "give either weight_fracs or volume_fracs, not both and not neither"
        raise ValueError(msg)
    lengths, rhos = tuple(x0s), tuple(densities)
    parts = tuple(weight_fracs if weight_fracs is not None else volume_fracs or ())
    _check_mixture(lengths, rhos, parts)
    weights = (
        parts
        if weight_fracs is not None
        else [part * rho for part, rho in zip(parts, rhos, strict=True)]
    )
    total = sum(weights)
    inverse_x0_rho = sum(
        weight / total / (x0 * rho) for weight, x0, rho in zip(weights, lengths, rhos, strict=True)
    )
    density = 1.0 / sum(weight / total / rho for weight, rho in zip(weights, rhos, strict=True))
    return {"X0": 1.0 / inverse_x0_rho / density, "density": density}


def _check_mixture(
    x0s: Sequence[float], densities: Sequence[float], parts: Sequence[float]
) -> None:
    if not len(x0s) == len(densities) == len(parts):
        msg = (
            "x0s, densities and fractions must have equal lengths, "
            f"got {len(x0s)}, {len(densities)} and {len(parts)}"
        )
        raise ValueError(msg)
    if not all(value > 0 for value in (*x0s, *densities)):
        msg = f"x0s and densities must be > 0, got {tuple(x0s)} and {tuple(densities)}"
        raise ValueError(msg)
    if not (all(part >= 0 for part in parts) and sum(parts) > 0):
        msg = f"fractions must be >= 0 with a sum > 0, got {tuple(parts)}"
        raise ValueError(msg)
