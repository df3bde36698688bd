"""One layer of voxels scatters muons with Highland's width."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.kernels import kernel
from tomopt_tasks.scattering.highland import (
    highland_scale,
    log_offset,
    path_power,
    step_density,
)
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
from tomopt_tasks.volume.flight import Flight, go_on, secant_of


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

    def densities(self, x0: Float[Tensor, "*grid"], voxel: float) -> tuple[Tensor, ...]:
        """Radiation lengths per voxel of path; infinite radiation lengths are vacuum (D-23)."""
        density = voxel / x0
        if self.settings.log_term == "step":
            return (step_density(density, self.step),)
        return (density,)

    def cross(self, layer: Layer, flight: Flight, normal: Float[Tensor, "4 mu"]) -> Flight:
        """Muons at the lower face of a layer.

        A layer scatters once: one joint draw of deflection and displacement in each of two planes,
        from the moments of the scattering power along the straight line through its voxels.

        Args:
            layer: the voxels.
            flight: muons at the upper face.
            normal: standard normal numbers. The scatter is computed in their precision and that of
                the voxels, and added to the flight in the precision of the flight.
        """
        matter = cross_layer(layer, flight.position, flight.slope)
        power, depth = self._power(matter, flight.slope, flight.depth)
        behind = _kicked(flight.position, flight.slope, *power, self.scale, normal)
        return Flight(*behind, depth)

    def _power(
        self, matter: Moments, slope: Float[Tensor, "2 mu"], depth: Depth
    ) -> tuple[Moments, Depth]:
        """Moments of the scattering power along the path in a layer, and the depth below it."""
        if self.settings.log_term == "path":
            if self.settings.energy_loss:  # the bracket of slower muons, above the layer too
                depth = Depth(depth.matter, path_power(depth.matter, self.offset))
            *moments, behind, above = _path_power(slope, *matter, *depth, self.offset)
            power, depth = Moments(*moments), Depth(behind, above)
        else:
            power = along_path(matter, secant_of(slope.to(matter.total)))
        if self.settings.displacement_sign < 0:
            power = shift_lever(power, self.step)
        return power, depth


@kernel
def _path_power(
    slope: Float[Tensor, "xy mu"],
    total: Float[Tensor, " mu"],
    lever: Float[Tensor, " mu"],
    lever2: Float[Tensor, " mu"],
    matter: Float[Tensor, " mu"],
    power: Float[Tensor, " mu"],
    offset: Float[Tensor, " mu"],
) -> tuple[
    Float[Tensor, " mu"],
    Float[Tensor, " mu"],
    Float[Tensor, " mu"],
    Float[Tensor, " mu"],
    Float[Tensor, " mu"],
]:
    """Moments of the scattering power, matter and power behind the layer."""
    along = along_path(Moments(total, lever, lever2), secant_of(slope.to(total)))
    moments, depth = power_moments(along, Depth(matter, power), offset)
    return *moments, *depth


@kernel
def _kicked(
    position: Float[Tensor, "xy mu"],
    slope: Float[Tensor, "xy mu"],
    total: Float[Tensor, " mu"],
    lever: Float[Tensor, " mu"],
    lever2: Float[Tensor, " mu"],
    scale: Float[Tensor, " mu"],
    normal: Float[Tensor, "number mu"],
) -> tuple[Float[Tensor, "xy mu"], Float[Tensor, "xy mu"]]:
    """Positions and slopes at the lower face."""
    kicks = draw_kicks(Moments(total, lever, lever2), scale, normal)
    return go_on(position, slope, *scatter_slopes(slope.to(normal), *kicks))
