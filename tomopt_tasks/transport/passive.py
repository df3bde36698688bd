"""Muons through the passive volume: from the state above it to the state below."""

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.losses import has_stopped
from tomopt_tasks.scattering.stopping import kinetic_energy
from tomopt_tasks.volume.crossing import Layer, first_cells, pad_density
from tomopt_tasks.volume.flight import Flight, no_depth
from tomopt_tasks.volume.scatterers import Scattering, build_scatterer
from tomopt_tasks.volume.slowing import OUT_OF_REACH, Slowing, mean_momentum


def scatter_through(
    x0: Float[Tensor, "vol z x y"],
    voxel: float,
    lines: tuple[Tensor, Tensor, Tensor, Tensor],
    momentum: Float[Tensor, "vol mu"],
    normal: Float[Tensor, "vol z 4 mu"],
    settings: Scattering,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y at the bottom of a stack of voxel layers, each [vol, mu].

    Args:
        x0: radiation lengths [m]; z index 0 is the lowest layer.
        voxel: edge of a voxel [m].
        lines: x, y [m], tan_x and tan_y at the top, each [vol, mu].
        momentum: [GeV].
        normal: standard normal numbers; index 0 of axis ``z`` belongs to the top layer. Their
            precision is that of the scatters, which add up in the precision of the lines.
        settings: scatter model. With energy loss, muons that stop are put far away, at the same
            height, where no panel sees them.
    """
    (n_volumes, n_muons), (_, n_layers, *grid) = momentum.shape, x0.shape
    energy, p = kinetic_energy(momentum.flatten()), momentum.flatten().to(normal)
    slowing = Slowing.build(x0, voxel) if settings.energy_loss else None
    scatterer = build_scatterer(settings, p, voxel)
    cells = [pad_density(density) for density in scatterer.densities(x0.to(normal), voxel)]
    volume = torch.arange(n_volumes, device=x0.device).repeat_interleave(n_muons)
    first = first_cells(volume, (grid[0], grid[1]))
    above = torch.stack(lines).flatten(1)
    flight = Flight(above[:2] / voxel, above[2:], no_depth(p))
    for k in range(n_layers):
        number = n_layers - 1 - k
        density, *others = (part[number] for part in cells)
        layer = Layer(density, (grid[0], grid[1]), first, tuple(others))
        if slowing is not None:
            before, energy = energy, slowing.behind(number, layer, flight, energy)
            scatterer = build_scatterer(settings, mean_momentum(before, energy).to(normal), voxel)
        flight = scatterer.cross(layer, flight, normal[:, k].transpose(0, 1).flatten(1))
    position = flight.position * voxel
    if slowing is not None:
        position = position.masked_fill(has_stopped(energy), OUT_OF_REACH)
    x, y, tan_x, tan_y = (part.view_as(momentum) for part in (*position, *flight.slope))
    return x, y, tan_x, tan_y


def fly_straight(
    lines: tuple[Tensor, Tensor, Tensor, Tensor], depth: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, y, tan_x and tan_y a depth [m] further down without any scattering."""
    x, y, tan_x, tan_y = lines
    return x + depth * tan_x, y + depth * tan_y, tan_x, tan_y
