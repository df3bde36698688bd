"""Muons through the passive volume: from the state above it to the state below."""

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
from tomopt_tasks.volume.crossing import Layer, cross_layer, first_cells, pad_density

Pair = tuple[Tensor, Tensor]


def scatter_through(
    density: Float[Tensor, "vol z x y"],
    position: Pair,
    slope: Pair,
    momentum: Float[Tensor, "vol mu"],
    normal: Float[Tensor, "vol z 4 mu"],
    settings: HighlandSettings,
) -> tuple[Pair, Pair]:
    """Positions and slopes at the bottom of a stack of voxel layers, in units of the voxel.

    Each layer scatters once: one joint draw of deflection and displacement in each of two planes,
    from the moments of the scattering power along the straight line through that layer.

    Args:
        density: radiation lengths per voxel of path; z index 0 is the lowest layer.
        position: x and y at the top, each [vol, mu] [voxels].
        slope: tan_x and tan_y, each [vol, mu].
        momentum: [GeV].
        normal: standard normal numbers; layer 0 of axis ``z`` belongs to the top layer.
        settings: scatter model; its ``step`` in voxels.
    """
    shape, n_layers = momentum.shape, density.shape[1]
    if settings.log_term == "step":
        density = step_density(density, settings.step)
    cells, first = pad_density(density), first_cells(density, shape[1])
    scale = highland_scale(momentum.flatten(), beta=settings.beta)
    offset = log_offset(momentum.flatten(), beta=settings.beta)
    x, y, tan_x, tan_y = (part.flatten() for part in (*position, *slope))
    depth = Depth(torch.zeros_like(x), torch.zeros_like(x))
    for k in range(n_layers):
        layer = Layer(cells[n_layers - 1 - k], (density.shape[2], density.shape[3]), first)
        matter = cross_layer(layer, (x, y), (tan_x, tan_y))
        secant = (1.0 + tan_x.square() + tan_y.square()).sqrt_()
        power, depth = _power(along_path(matter, secant), depth, offset, settings)
        noise = torch.empty(4, *shape, dtype=x.dtype).copy_(normal[:, k].transpose(0, 1))
        kicks, shifts = draw_kicks(power, scale, noise.view(4, -1))
        (new_x, new_y), shift = scatter_slopes((tan_x, tan_y), kicks, shifts)
        x, y = x + tan_x + shift[0], y + tan_y + shift[1]
        tan_x, tan_y = new_x, new_y
    return (x.view(shape), y.view(shape)), (tan_x.view(shape), tan_y.view(shape))


def _power(
    matter: Moments, depth: Depth, offset: Float[Tensor, " mu"], settings: HighlandSettings
) -> tuple[Moments, Depth]:
    """Moments of the scattering power in one layer, and the depth below it."""
    power = matter
    if settings.log_term == "path":
        power, depth = power_moments(matter, depth, offset)
    if settings.displacement_sign < 0:
        power = shift_lever(power, settings.step)
    return power, depth


def fly_straight(position: Pair, slope: Pair, n_layers: int) -> tuple[Pair, Pair]:
    """Positions and slopes below the stack without any scattering."""
    x, y = (at + n_layers * tan for at, tan in zip(position, slope, strict=True))
    return (x, y), slope
