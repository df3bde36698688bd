"""One layer of voxels scatters muons: the step that banks and ``PassiveLayer`` share."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.highland import highland_scale, log_offset, step_density
from tomopt_tasks.scattering.kick import scatter_slopes
from tomopt_tasks.scattering.moments import (
    Depth,
    Moments,
    along_path,
    draw_kicks,
    power_moments,
    shift_lever,
)
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.volume.crossing import Layer, cross_layer

Pair = tuple[Tensor, Tensor]


class Flight(NamedTuple):
    """Muons on a horizontal plane; lengths in voxels."""

    position: Pair
    slope: Pair
    depth: Depth
    """Matter that each has crossed."""


@dataclass(frozen=True, slots=True)
class Scatterer:
    """A scatter model for given muons, with lengths in voxels."""

    settings: HighlandSettings
    step: float
    """Step of the compat options [voxels]."""
    scale: Float[Tensor, " mu"]
    offset: Float[Tensor, " mu"]

    @classmethod
    def build(
        cls, settings: HighlandSettings, momentum: Float[Tensor, " mu"], voxel: float
    ) -> "Scatterer":
        """The model for muons of these momenta [GeV] in voxels of this edge [m]."""
        return cls(
            settings,
            settings.step / voxel,
            highland_scale(momentum, beta=settings.beta),
            log_offset(momentum, beta=settings.beta),
        )

    def density(self, x0: Float[Tensor, "*grid"], voxel: float) -> Float[Tensor, "*grid"]:
        """Radiation lengths per voxel of path; infinite radiation lengths are vacuum (D-23)."""
        density = voxel / x0
        if self.settings.log_term == "step":
            return step_density(density, self.step)
        return density

    def cross(self, layer: Layer, flight: Flight, normal: Float[Tensor, "4 mu"]) -> Flight:
        """Muons at the lower face of a layer.

        A layer scatters once: one joint draw of deflection and displacement in each of two planes,
        from the moments of the scattering power along the straight line through its voxels.

        Args:
            layer: the voxels.
            flight: muons at the upper face.
            normal: standard normal numbers.
        """
        (x, y), (tan_x, tan_y) = flight.position, flight.slope
        matter = cross_layer(layer, flight.position, flight.slope)
        secant = (1.0 + tan_x.square() + tan_y.square()).sqrt_()
        power, depth = self._power(along_path(matter, secant), flight.depth)
        kicks, shifts = draw_kicks(power, self.scale, normal)
        slope, shift = scatter_slopes(flight.slope, kicks, shifts)
        return Flight((x + tan_x + shift[0], y + tan_y + shift[1]), slope, depth)

    def _power(self, matter: Moments, depth: Depth) -> tuple[Moments, Depth]:
        """Moments of the scattering power in a layer, and the depth below it."""
        power = matter
        if self.settings.log_term == "path":
            power, depth = power_moments(matter, depth, self.offset)
        if self.settings.displacement_sign < 0:
            power = shift_lever(power, self.step)
        return power, depth


def no_depth(like: Float[Tensor, " mu"]) -> Depth:
    """Muons that have crossed nothing yet."""
    return Depth(torch.zeros_like(like), torch.zeros_like(like))
