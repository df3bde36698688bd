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

_NUDGE = 1.0e-18
"""Added to slopes so that none is zero; far below the rounding of any other."""

_PAD = 3
"""Empty cells around a layer: muons outside count as in the second, and look one cell further."""


class Layer(NamedTuple):
    """One layer of voxels of several volumes."""

    density: Float[Tensor, " cell"]
    """From ``pad_density``, one layer of it."""
    shape: tuple[int, int]
    """Voxels along x and y."""
    first_cell: Int[Tensor, " mu"]
    """From ``first_cells``."""
    others: tuple[Tensor, ...] = ()
    """More densities of the same voxels."""

    def other(self, number: int) -> "Layer":
        """The same voxels with another of their densities."""
        return self._replace(density=self.others[number], others=())


class Piece(NamedTuple):
    """Part of a flight that crosses at most one border along each axis."""

    density: tuple[Tensor, Tensor, Tensor]
    """Before the first border, between the two, behind the second."""
    left: Float[Tensor, "2 mu"]
    """Depth of the piece that is left at the border along x and along y; 0: not crossed."""


def pad_density(density: Float[Tensor, "vol z x y"]) -> Float[Tensor, "z cell"]:
    """A border of empty cells around each layer, flat over (volume, x, y)."""
    padded = torch.nn.functional.pad(density, (_PAD, _PAD, _PAD, _PAD))
    return padded.transpose(0, 1).flatten(1).contiguous()


def first_cells(volume: Int[Tensor, " mu"], shape: tuple[int, int]) -> Int[Tensor, " mu"]:
    """Index of voxel (0, 0) among the padded cells of each muon's volume.

    Args:
        volume: number of the volume that each muon is in.
        shape: voxels along x and y.
    """
    width = shape[1] + 2 * _PAD
    return (volume * ((shape[0] + 2 * _PAD) * width) + (_PAD * width + _PAD)).int()


def cross_layer(
    layer: Layer, position: Float[Tensor, "2 mu"], slope: Float[Tensor, "2 mu"]
) -> Moments:
    """Integrals of the density over the depth of a layer; times the secant they are over the path.

    Args:
        layer: the voxels.
        position: x and y at the top of the layer [voxels].
        slope: tan_x and tan_y; a flight takes as many turns as its larger slope, rounded up.
    """
    slope = slope + _NUDGE
    total = _integrate(_cut(layer, position, slope))
    size = slope.detach().abs()
    larger = size[0].maximum(size[1])
    steep = (larger > 1.0).nonzero().squeeze(1)
    if len(steep):
        pieces = larger.index_select(0, steep).ceil_()
        _cut_steep(total, layer, position, slope, (steep, pieces))
    return total


def _cut_steep(
    total: Moments,
    layer: Layer,
    position: Float[Tensor, "2 mu"],
    slope: Float[Tensor, "2 mu"],
    cuts: tuple[Int[Tensor, " steep"], Float[Tensor, " steep"]],
) -> None:
    """Writes the integrals of steep flights into ``total``, from all their pieces at once."""
    steep, pieces = cuts
    n_pieces = pieces.long()
    of = torch.arange(len(steep), device=steep.device).repeat_interleave(n_pieces)
    first = (n_pieces.cumsum(0) - n_pieces).index_select(0, of)
    k = (torch.arange(len(of), device=steep.device) - first).to(pieces)
    rows, step = steep.index_select(0, of), pieces.reciprocal().index_select(0, of)
    tan = slope.index_select(1, rows).mul_(step)
    at = position.index_select(1, rows).addcmul_(k, tan)
    part = layer._replace(first_cell=layer.first_cell.index_select(0, rows))
    lifted = _lift(_integrate(_cut(part, at, tan)), step, 1.0 - (k + 1.0) * step)
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
    left_x, left_y = piece.left
    first, second = left_x.maximum(left_y), left_x.minimum(left_y)
    rise_1, rise_2 = (between - before) * first, (behind - between) * second
    total = (before + rise_1).add_(rise_2)
    rise_1, rise_2 = rise_1 * first, rise_2 * second
    lever = (before + rise_1).add_(rise_2)
    lever2 = before.addcmul(rise_1, first).addcmul_(rise_2, second)
    return Moments(total, lever.mul_(1.0 / 2.0), lever2.mul_(1.0 / 3.0))


def _cut(layer: Layer, position: Float[Tensor, "2 mu"], slope: Float[Tensor, "2 mu"]) -> Piece:
    """What a flight meets on a depth of 1, with slopes of at most 1."""
    (n_x, n_y), width = layer.shape, layer.shape[1] + 2 * _PAD
    cell, way = position.detach().floor(), slope.detach().sign()
    border = way.clamp(min=0.0).add_(cell)
    left = (1.0 - border.sub_(position) / slope).clamp_(min=0.0)
    cell[0].clamp_(-2.0, n_x + 1.0)
    cell[1].clamp_(-2.0, n_y + 1.0)
    (x, y), (over_x, over_y) = cell.int(), way.int()
    before = layer.first_cell.add(y).add_(x, alpha=width)
    between = before + over_y
    behind = between + over_x.mul_(width)
    # a product: a choice by a mask takes twenty times as long where it goes either way
    between.add_((left[0] > left[1]) * over_x.sub_(over_y))
    density = (_look_up(layer, before), _look_up(layer, between), _look_up(layer, behind))
    return Piece(density, left)


def _look_up(layer: Layer, index: Int[Tensor, " mu"]) -> Float[Tensor, " mu"]:
    return layer.density.index_select(0, index)
