"""Exact integrals along straight flights through one layer of voxels.

Everything here is in units of the voxel: the layer is one voxel thick, positions are in voxels,
``density`` is radiation lengths per voxel of path. Outside the grid there is nothing.

A flight whose slope exceeds one voxel per layer is cut into equal pieces that do not, so that a
piece crosses at most one border along each axis and sees at most three voxels. On it, with ``v``
the depth that is left, ``int density v^(k-1) dv`` is a sum over the borders of ``v^k / k`` times
the step in density there: no walk and no sorting.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.moments import Moments

Pair = tuple[Tensor, Tensor]

_NUDGE = 1.0e-18
"""Added to slopes so that none is zero; far below the rounding of any other."""


class Layer(NamedTuple):
    """One layer of voxels of several volumes."""

    density: Float[Tensor, " cell"]
    """From ``pad_density``, one layer of it."""
    shape: tuple[int, int]
    """Voxels along x and y."""
    first_cell: Float[Tensor, " mu"]
    """Index of the first cell of the volume of each muon, as a float."""


def pad_density(density: Float[Tensor, "vol z x y"]) -> Float[Tensor, "z cell"]:
    """A border of empty cells around each layer, flat over (volume, x, y)."""
    padded = torch.nn.functional.pad(density, (1, 1, 1, 1))
    return padded.transpose(0, 1).flatten(1).contiguous()


def first_cells(density: Float[Tensor, "vol z x y"], n_muons: int) -> Float[Tensor, " mu"]:
    """Index of the first padded cell of each muon's volume, flat over (volume, muon)."""
    n_volumes, _, n_x, n_y = density.shape
    volume = torch.arange(n_volumes, dtype=density.dtype, device=density.device)
    return (volume * ((n_x + 2) * (n_y + 2))).repeat_interleave(n_muons)


def cross_layer(layer: Layer, position: Pair, slope: Pair) -> Moments:
    """Integrals of the density over the depth of a layer; times the secant they are over the path.

    Args:
        layer: the voxels.
        position: x and y at the top of the layer [voxels].
        slope: tan_x and tan_y; each piece costs as much again, so keep them moderate.
    """
    x, y = position
    tan_x, tan_y = slope[0] + _NUDGE, slope[1] + _NUDGE
    pieces = tan_x.abs().maximum(tan_y.abs()).ceil().clamp(min=1.0)
    step = pieces.reciprocal()
    matter = _piece(layer, (x, y), (tan_x, tan_y), (torch.zeros_like(step), step))
    active = (pieces > 1.0).nonzero().squeeze(1)
    done = 1
    while len(active):
        part = layer._replace(first_cell=layer.first_cell[active])
        at, tan = (x[active], y[active]), (tan_x[active], tan_y[active])
        depths = (step[active] * done, (step[active] * (done + 1)).clamp(max=1.0))
        for total, more in zip(matter, _piece(part, at, tan, depths), strict=True):
            total.index_add_(0, active, more)
        done += 1
        active = active[pieces[active] > done]
    return matter


def _piece(layer: Layer, position: Pair, slope: Pair, depths: Pair) -> Moments:
    """The integrals between two depths, in which each axis crosses at most one border."""
    start, stop = depths
    (x, y), (tan_x, tan_y) = position, slope
    cell_x, sign_x, cross_x = _next_border(x, tan_x, start)
    cell_y, sign_y, cross_y = _next_border(y, tan_y, start)
    x_first = cross_x <= cross_y
    row, column = _row(layer, cell_x), cell_y.clamp(-1.0, float(layer.shape[1]))
    row_after = _row(layer, cell_x + sign_x)
    column_after = (cell_y + sign_y).clamp_(-1.0, float(layer.shape[1]))
    before = _look_up(layer, row + column)
    after = _look_up(layer, row_after + column_after)
    between = _look_up(layer, torch.where(x_first, row_after + column, row + column_after))
    left = 1.0 - start
    left_1 = 1.0 - cross_x.minimum(cross_y).minimum(stop)
    left_2 = 1.0 - cross_x.maximum(cross_y).minimum(stop)
    left_3 = 1.0 - stop
    rise_1, rise_2 = between - before, after - between
    sums = []
    powers = [left, left_1, left_2, left_3]
    for k in (1, 2, 3):
        total = before * powers[0] + rise_1 * powers[1] + rise_2 * powers[2] - after * powers[3]
        sums.append(total / k)
        powers = [
            power * v for power, v in zip(powers, (left, left_1, left_2, left_3), strict=True)
        ]
    return Moments(*sums)


def _next_border(
    at: Float[Tensor, " mu"], tan: Float[Tensor, " mu"], start: Float[Tensor, " mu"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Cell at the depth ``start``, direction of motion, and depth of the next border."""
    cell = (at + start * tan).floor_()
    sign = tan.sign()
    border = cell + (0.5 * sign + 0.5)
    return cell, sign, ((border - at) / tan).maximum(start)


def _row(layer: Layer, cell_x: Float[Tensor, " mu"]) -> Float[Tensor, " mu"]:
    """Index of the cell at column 0 of a row of cells, outside rows clamped to the border."""
    n_x, n_y = layer.shape
    width = n_y + 2
    return cell_x.clamp(-1.0, float(n_x)).mul_(width).add_(layer.first_cell).add_(width + 1)


def _look_up(layer: Layer, index: Float[Tensor, " mu"]) -> Float[Tensor, " mu"]:
    return layer.density.index_select(0, index.long())
