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
from jaxtyping import Float, Int
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
    """Index of voxel (0, 0) of the volume of each muon, as a float."""
    others: tuple[Tensor, ...] = ()
    """More densities of the same voxels."""

    def other(self, number: int) -> "Layer":
        """The same voxels with another of their densities."""
        return self._replace(density=self.others[number], others=())


class Piece(NamedTuple):
    """Part of a flight that crosses at most one border along each axis."""

    density: tuple[Tensor, Tensor, Tensor]
    """Before the first border, between the two, behind the second."""
    crossing: Pair
    """Depth of the first and of the second border below the top of the piece."""


def pad_density(density: Float[Tensor, "vol z x y"]) -> Float[Tensor, "z cell"]:
    """A border of empty cells around each layer, flat over (volume, x, y)."""
    padded = torch.nn.functional.pad(density, (1, 1, 1, 1))
    return padded.transpose(0, 1).flatten(1).contiguous()


def first_cells(density: Float[Tensor, "vol z x y"], n_muons: int) -> Float[Tensor, " mu"]:
    """Index of voxel (0, 0) in the padded cells of each muon's volume, flat over (volume, muon)."""
    n_volumes, _, n_x, n_y = density.shape
    volume = torch.arange(n_volumes, dtype=density.dtype, device=density.device)
    return (volume * ((n_x + 2) * (n_y + 2)) + (n_y + 3)).repeat_interleave(n_muons)


def cross_layer(layer: Layer, position: Pair, slope: Pair) -> Moments:
    """Integrals of the density over the depth of a layer; times the secant they are over the path.

    Args:
        layer: the voxels.
        position: x and y at the top of the layer [voxels].
        slope: tan_x and tan_y; a flight takes as many turns as its larger slope, rounded up.
    """
    tan_x, tan_y = slope[0] + _NUDGE, slope[1] + _NUDGE
    pieces = tan_x.abs().maximum(tan_y.abs()).ceil_()
    total = _integrate(_cut(layer, position, (tan_x, tan_y)))
    steep = (pieces > 1.0).nonzero().squeeze(1)
    if len(steep):
        _cut_steep(total, layer, (*position, tan_x, tan_y, pieces), steep)
    return total


def _cut_steep(
    total: Moments, layer: Layer, flights: tuple[Tensor, ...], steep: Int[Tensor, " steep"]
) -> None:
    """Writes the integrals of steep flights into ``total``, from all their pieces at once."""
    n_pieces = flights[-1].index_select(0, steep).long()
    rows = steep.repeat_interleave(n_pieces)
    first = (n_pieces.cumsum(0) - n_pieces).repeat_interleave(n_pieces)
    k = torch.arange(len(rows), device=rows.device) - first
    x, y, tan_x, tan_y, pieces = (part.index_select(0, rows) for part in flights)
    step = pieces.reciprocal_()
    tan_x, tan_y = tan_x.mul_(step), tan_y.mul_(step)
    part = layer._replace(first_cell=layer.first_cell.index_select(0, rows))
    whole = _integrate(_cut(part, (x.addcmul_(k, tan_x), y.addcmul_(k, tan_y)), (tan_x, tan_y)))
    lifted = _lift(whole, step, 1.0 - (k + 1) * step)
    for sums, more in zip(total, lifted, strict=True):
        sums.index_fill_(0, steep, 0.0)
        if sums.is_cuda:  # adds in a fixed order, as index_add_ does on a CPU
            sums.index_put_((rows,), more, accumulate=True)
        else:
            sums.index_add_(0, rows, more)


def _lift(moments: Moments, step: Float[Tensor, " n"], below: Float[Tensor, " n"]) -> Moments:
    """Moments about the lower face from those of a piece of depth ``step`` about its own end."""
    square = step * step
    total, lever, lever2 = (
        moments.total * step, moments.lever * square, moments.lever2 * (square * step)
    )  # fmt: skip
    swung = below * total
    return Moments(total, lever + swung, lever2 + below * (2.0 * lever + swung))


def _integrate(piece: Piece) -> Moments:
    """The integrals over a piece of depth 1."""
    before, between, behind = piece.density
    left_1, left_2 = (1.0 - crossing.clamp(max=1.0) for crossing in piece.crossing)
    rise_1, rise_2 = between - before, behind - between
    total = before.addcmul(rise_1, left_1).addcmul_(rise_2, left_2)
    rise_1, rise_2 = rise_1 * left_1, rise_2 * left_2
    lever = before.addcmul(rise_1, left_1).addcmul_(rise_2, left_2)
    rise_1, rise_2 = rise_1 * left_1, rise_2 * left_2
    lever2 = before.addcmul(rise_1, left_1).addcmul_(rise_2, left_2)
    return Moments(total, lever.mul_(1.0 / 2.0), lever2.mul_(1.0 / 3.0))


def _cut(layer: Layer, position: Pair, slope: Pair) -> Piece:
    """What a flight meets on a depth of 1, with slopes of at most 1."""
    cell_x, behind_x, cross_x = _next_border(position[0], slope[0])
    cell_y, behind_y, cross_y = _next_border(position[1], slope[1])
    n_x, n_y = float(layer.shape[0]), float(layer.shape[1])
    width = layer.shape[1] + 2
    row = cell_x.clamp_(-1.0, n_x).mul_(width).add_(layer.first_cell)
    row_behind = behind_x.clamp_(-1.0, n_x).mul_(width).add_(layer.first_cell)
    cell_y, behind_y = cell_y.clamp_(-1.0, n_y), behind_y.clamp_(-1.0, n_y)
    between = torch.where(cross_x <= cross_y, row_behind + cell_y, row + behind_y)
    before, behind = row.add_(cell_y), row_behind.add_(behind_y)
    density = (_look_up(layer, before), _look_up(layer, between), _look_up(layer, behind))
    return Piece(density, (cross_x.minimum(cross_y), cross_x.maximum(cross_y)))


def _next_border(
    at: Float[Tensor, " mu"], tan: Float[Tensor, " mu"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Cell at the top, cell behind the next border, and depth of that border."""
    cell, sign = at.detach().floor(), tan.detach().sign()
    crossing = sign.clamp(min=0.0).add_(cell).sub_(at) / tan
    return cell, sign.add_(cell), crossing


def _look_up(layer: Layer, index: Float[Tensor, " mu"]) -> Float[Tensor, " mu"]:
    return layer.density.index_select(0, index.long())
