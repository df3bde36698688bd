"""Muons lose energy on their way through layers of voxels."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.losses import Losses, kinetic_behind, loss_grids, momentum_of
from tomopt_tasks.volume.crossing import Layer, cross_layer, pad_density
from tomopt_tasks.volume.flight import Flight, secant_of

OUT_OF_REACH = 1e4
"""Where muons that stop are put in x and y [m]: no panel is there, and all numbers stay finite."""


@dataclass(frozen=True, slots=True)
class Slowing:
    """Loss densities of a stack of layers."""

    cells: Losses
    """Each padded: (z, cell) [GeV per voxel of path]."""

    @classmethod
    def build(cls, x0: Float[Tensor, "vol z x y"], voxel: float) -> "Slowing":
        """For grids of radiation lengths [m] and voxels of this edge [m].

        Raises:
            UserError: a voxel is of no material of the table.
        """
        return cls(Losses(*(pad_density(loss * voxel) for loss in loss_grids(x0))))

    def behind(
        self, number: int, layer: Layer, flight: Flight, kinetic: Float[Tensor, " mu"]
    ) -> Float[Tensor, " mu"]:
        """Kinetic energy at the lower face of a layer [GeV], along the straight line through it.

        Args:
            number: of the layer in the stack.
            layer: its voxels.
            flight: muons at its upper face.
            kinetic: theirs [GeV].
        """
        secant = secant_of(flight.slope)
        on_path = [
            cross_layer(layer._replace(density=cells[number]), flight.position, flight.slope)
            for cells in self.cells
        ]
        return kinetic_behind(kinetic, Losses(*(part.total * secant for part in on_path)))


def mean_momentum(
    before: Float[Tensor, " mu"], behind: Float[Tensor, " mu"]
) -> Float[Tensor, " mu"]:
    """Momentum [GeV] that scatters as one that falls evenly does: ``<1 / p^2> = 1 / (p1 p2)``.

    Args:
        before: kinetic energy in front of a layer [GeV].
        behind: kinetic energy behind it [GeV].
    """
    return torch.sqrt(momentum_of(before) * momentum_of(behind))
