"""One layer of voxels scatters muons by angles from a table."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.highland import beta_squared
from tomopt_tasks.scattering.kick import scatter_slopes
from tomopt_tasks.scattering.moments import along_path
from tomopt_tasks.scattering.settings import TableScatterSettings
from tomopt_tasks.scattering.table import ScatterTable, load_table
from tomopt_tasks.volume.crossing import Layer, cross_layer
from tomopt_tasks.volume.flight import Flight, go_on, secant_of


@dataclass(frozen=True, slots=True)
class TableScatterer:
    """Tabulated angles for given muons, with lengths in voxels.

    A layer scatters once, by the table's angle for the matter on the straight line through it. The
    angles of the layers above need not be known: where the table is of independent scatters, as
    Moliere's is, layers add up to what one layer of all their matter gives.

    Deflection and displacement share the lever of a Gaussian; what is left of the displacement has
    the same law, scaled: the first and second moments, and the far tails, are those of scatters
    anywhere on the path.
    """

    table: ScatterTable
    scale: Float[Tensor, " mu"]
    """1 / (beta p) [1 / GeV]."""

    @classmethod
    def build(
        cls,
        settings: TableScatterSettings,
        momentum: Float[Tensor, " mu"],
        voxel: float,  # noqa: ARG003 - as all scatterers
    ) -> "TableScatterer":
        """The model for muons of these momenta [GeV]."""
        scale = 1.0 / (momentum * beta_squared(momentum).sqrt())
        return cls(load_table(settings).to(momentum), scale)

    def densities(self, x0: Float[Tensor, "*grid"], voxel: float) -> tuple[Tensor, ...]:
        """Radiation lengths per voxel of path, and the same times the number of the material."""
        density = voxel / x0
        return density, density * self.table.material(x0)

    def cross(self, layer: Layer, flight: Flight, normal: Float[Tensor, "4 mu"]) -> Flight:
        """Muons at the lower face of a layer.

        Args:
            layer: the voxels, with both densities.
            flight: muons at the upper face.
            normal: standard normal numbers.
        """
        depth = cross_layer(layer, flight.position, flight.slope)
        numbered = cross_layer(layer.other(0), flight.position, flight.slope)
        slope = flight.slope.to(normal)
        matter = along_path(depth, secant_of(slope))
        tiny = torch.finfo(matter.total.dtype).tiny
        total = matter.total.clamp(min=tiny)
        material = numbered.total / depth.total.clamp(min=tiny)
        lever = matter.lever / total
        rest = (matter.lever2 / total - lever.square()).clamp(min=tiny).sqrt()
        kicks = self._stretched(normal[:2], material, matter.total)
        loose = self._stretched(normal[2:], material, matter.total)
        shifts = lever * kicks + rest * loose
        change = scatter_slopes(slope, kicks, shifts)
        return Flight(*go_on(flight.position, flight.slope, *change), flight.depth)

    def _stretched(
        self, pair: Float[Tensor, "2 mu"], material: Tensor, thickness: Tensor
    ) -> Float[Tensor, "2 mu"]:
        radius = (pair[0].square() + pair[1].square()).sqrt()
        return self.table.stretch(material, thickness, radius) * self.scale * pair
