"""Scattering angles from a table: of our own, from Moliere's theory, or of the user.

An npz file with the arrays

- ``material`` (material): names; their order is that of the interpolation between materials where a
  flight through one layer of voxels meets several, so neighbours should scatter alike;
- ``x0`` (material): their radiation lengths [m]; a voxel is of the material nearest to it in ln X0;
- ``thickness`` (thickness): radiation lengths, ascending;
- ``radius`` (radius): ascending, > 0; a fraction exp(-radius^2 / 2) of muons is scattered by more;
- ``angle`` (material, thickness, radius): spatial angle times beta p [rad GeV]; ascending along
  radius.

The angle over (radius sqrt(thickness)), which hardly changes, is interpolated: its logarithm,
linearly in material, ln thickness and radius; beyond the thicknesses of the table it stays. The two
deflections are a pair of standard normal numbers stretched to the tabulated angle, so that they are
functions of the same numbers as a Gaussian's, with gradients along thickness and momentum.
"""

import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.core import UserError
from tomopt_tasks.input_files import file_digest
from tomopt_tasks.scattering.nearest import nearest
from tomopt_tasks.scattering.settings import TableScatterSettings, built_in_table

NAMES = ("material", "x0", "thickness", "radius", "angle")

_UNREADABLE = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile)


class Between(NamedTuple):
    """Places between the points of an axis."""

    low: Tensor
    """Number of the point below."""
    part: Tensor
    """How far it is to the next one; outside the axis maybe below 0 or above 1."""


@dataclass(frozen=True, eq=False)
class ScatterTable:
    """Angles that muons are scattered by."""

    names: tuple[str, ...]
    """Materials."""
    log_x0: Float[Tensor, " material"]
    """Logarithm of their radiation lengths [m]."""
    log_thickness: Float[Tensor, " thickness"]
    """Of radiation lengths."""
    radius: Float[Tensor, " radius"]
    """Of a standard normal pair."""
    log_ratio: Float[Tensor, "material thickness radius"]
    """Of the angle times beta p over (radius sqrt(thickness)) [rad GeV]."""

    def to(self, like: Tensor) -> "ScatterTable":
        """The table where a tensor lives, in its precision."""
        moved = (self.log_x0, self.log_thickness, self.radius, self.log_ratio)
        return ScatterTable(self.names, *(part.to(like) for part in moved))

    def material(self, x0: Float[Tensor, "*grid"]) -> Float[Tensor, "*grid"]:
        """Number of the material of each voxel, as a float; any for vacuum."""
        return nearest(x0, self.log_x0).to(x0)

    def stretch(
        self,
        material: Float[Tensor, " mu"],
        thickness: Float[Tensor, " mu"],
        radius: Float[Tensor, " mu"],
    ) -> Float[Tensor, " mu"]:
        """Angle times beta p for each unit of radius [rad GeV].

        Args:
            material: number of the material, or a mean over several.
            thickness: [radiation lengths]; >= 0. Zero gives zero.
            radius: of a pair of standard normal numbers; >= 0.
        """
        tiny = torch.finfo(thickness.dtype).tiny
        log_thickness = thickness.clamp(min=tiny).log()
        bounded = log_thickness.clamp(float(self.log_thickness[0]), float(self.log_thickness[-1]))
        points = torch.arange(len(self.names), device=material.device, dtype=material.dtype)
        places = (
            _between(points, material.clamp(0.0, len(self.names) - 1.0)),
            _between(self.log_thickness, bounded),
            _between(self.radius, radius.clamp(min=float(self.radius[0]))),
        )
        # sqrt(thickness) has no derivative at zero, where there is nothing to scatter
        return torch.exp(_interpolate(self.log_ratio, places)) * thickness.clamp(min=tiny).sqrt()


def _between(points: Float[Tensor, " point"], at: Float[Tensor, " mu"]) -> Between:
    if len(points) == 1:
        return Between(torch.zeros_like(at, dtype=torch.int64), torch.zeros_like(at))
    low = (torch.searchsorted(points, at.detach().contiguous()) - 1).clamp(0, len(points) - 2)
    below, above = points[low], points[low + 1]
    return Between(low, (at - below) / (above - below))


def _interpolate(
    values: Float[Tensor, "a b c"], places: tuple[Between, Between, Between]
) -> Float[Tensor, " mu"]:
    """Linear along each of three axes."""
    (a, part_a), (b, part_b), (c, part_c) = places
    n_a, n_b, n_c = values.shape
    flat = values.reshape(-1)
    a_next, b_next = (a + 1).clamp(max=n_a - 1), (b + 1).clamp(max=n_b - 1)
    c_next = (c + 1).clamp(max=n_c - 1)

    def along_c(i: Tensor, j: Tensor) -> Tensor:
        row = (i * n_b + j) * n_c
        low = flat[row + c]
        return low + part_c * (flat[row + c_next] - low)

    def along_b(i: Tensor) -> Tensor:
        low = along_c(i, b)
        return low + part_b * (along_c(i, b_next) - low)

    first = along_b(a)
    return first + part_a * (along_b(a_next) - first)


def load_table(settings: TableScatterSettings) -> ScatterTable:
    """The table that settings name, in double precision on the CPU; kept in memory.

    Raises:
        UserError: no such file, not the planned one, or not what the module describes.
    """
    file = Path(settings.file) if settings.file else built_in_table()
    try:
        seen = file.stat()
    except OSError as error:
        raise UserError(f"no such file: {file}; check the name and the folder") from error
    return _load(file, settings.sha256, seen.st_mtime_ns, seen.st_size)


@lru_cache(maxsize=4)
def _load(file: Path, sha256: str, _changed: int, _size: int) -> ScatterTable:
    if sha256 and file_digest(file) != sha256:
        raise UserError(f"{file} has changed since this was planned; run the study again")
    return read_table(file)


def read_table(file: Path) -> ScatterTable:
    """Read and check an npz file; see the module.

    Raises:
        UserError: it is none, or an array is missing, has another shape, or wrong numbers.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            names = [str(name) for name in arrays["material"]]
            parts = [torch.from_numpy(np.asarray(arrays[n], dtype=np.float64)) for n in NAMES[1:]]
    except _UNREADABLE as error:
        listed = ", ".join(NAMES)
        raise UserError(
            f"{file} is no table of scattering angles: an npz file with the arrays {listed}"
        ) from error
    x0, thickness, radius, angle = parts
    shape = (len(names), len(thickness), len(radius))
    if x0.shape != shape[:1] or angle.shape != shape or 0 in shape:
        raise UserError(
            f"{file}: angle has the shape {tuple(angle.shape)}, but (material, thickness, radius) "
            f"is {shape}, with {tuple(x0.shape)} radiation lengths; make them fit"
        )
    for name, values in (
        ("x0", x0),
        ("thickness", thickness),
        ("radius", radius),
        ("angle", angle),
    ):
        if not bool((torch.isfinite(values) & (values > 0)).all()):
            raise UserError(f"{file}: {name} is not finite and > 0 everywhere; correct it")
    for name, values in (("thickness", thickness), ("radius", radius), ("angle", angle)):
        if bool((values.diff(dim=-1) <= 0).any()):
            raise UserError(f"{file}: {name} does not ascend along its last axis; sort it")
    log_ratio = torch.log(angle / (radius * thickness.sqrt()[:, None]))
    return ScatterTable(tuple(names), x0.log(), thickness.log(), radius, log_ratio)
