"""Muons through the passive volume: from the state above it to the state below."""

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.highland import PowerRule, power_rule
from tomopt_tasks.scattering.kick import scatter_slopes
from tomopt_tasks.scattering.moments import draw_kicks, shift_lever
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.volume.crossing import Layer, cell_edges, cross_layer, pad_density

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
    n_volumes, n_layers, n_x, n_y = density.shape
    shape = momentum.shape
    cells = pad_density(density)
    edges = (cell_edges(n_x, density), cell_edges(n_y, density))
    volume = torch.arange(n_volumes, device=density.device).repeat_interleave(shape[1])
    first_cell = volume * ((n_x + 2) * (n_y + 2))
    rule = _rule(momentum.flatten(), settings)
    zero = torch.zeros_like(rule.scale)
    state = (zero, zero)
    x, y, tan_x, tan_y = (part.flatten() for part in (*position, *slope))
    for k in range(n_layers):
        layer = Layer(cells[n_layers - 1 - k], edges, first_cell)
        moments, state = cross_layer(layer, (x, y), (tan_x, tan_y), state, rule)
        if settings.displacement_sign < 0:
            moments = shift_lever(moments, settings.step)
        noise = normal[:, k].transpose(0, 1).reshape(4, -1).to(x.dtype)
        kicks, shifts = draw_kicks(moments, rule.scale, noise)
        new_slope, shift = scatter_slopes((tan_x, tan_y), kicks, shifts)
        x, y = x + tan_x + shift[0], y + tan_y + shift[1]
        tan_x, tan_y = new_slope
    return (x.view(shape), y.view(shape)), (tan_x.view(shape), tan_y.view(shape))


def _rule(momentum: Float[Tensor, " mu"], settings: HighlandSettings) -> PowerRule:
    return power_rule(momentum, log_term=settings.log_term, beta=settings.beta, step=settings.step)


def fly_straight(position: Pair, slope: Pair, n_layers: int) -> tuple[Pair, Pair]:
    """Positions and slopes below the stack without any scattering."""
    x, y = (at + n_layers * tan for at, tan in zip(position, slope, strict=True))
    return (x, y), slope
