"""Exact integrals along straight flights through one layer of voxels.

Everything here is in units of the voxel: the layer is one voxel thick, positions are in voxels,
``density`` is radiation lengths per voxel of path. Outside the grid there is nothing.

A flight whose slope exceeds one voxel per layer is cut into equal pieces that do not, so that a
piece crosses at most one border along each axis and sees at most three voxels. On it, with ``v``
the depth that is left, ``int density v^(k-1) dv`` is a sum over the borders of ``v^k / k`` times
the step in density there: no walk and no sorting.
"""

from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopt_tasks.kernels import kernel
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
        layer: the voxels; what is integrated is as precise as they are.
        position: x and y at the top of the layer [voxels].
        slope: tan_x and tan_y; a flight takes as many turns as its larger slope, rounded up.
    """
    bounds = _bounds(layer.shape, layer.density.dtype, layer.density.device)
    about = (layer.density, layer.first_cell, *bounds, position, slope)
    *moments, larger = _shallow(*about)
    steep = (larger > 1.0).nonzero().squeeze(1)
    if len(steep):
        n_pieces = larger.index_select(0, steep).ceil_().long()
        of = torch.repeat_interleave(n_pieces)
        first = (n_pieces.cumsum(0) - n_pieces).index_select(0, of)
        number = torch.arange(len(of), device=of.device).sub_(first)
        rows = steep.index_select(0, of)
        for sums, more in zip(moments, _pieces(*about, rows, number), strict=True):
            sums.index_fill_(0, steep, 0.0)
            if sums.is_cuda:  # adds in a fixed order, as index_add_ does on a CPU
                sums.index_put_((rows,), more, accumulate=True)
            else:
                sums.index_add_(0, rows, more)
    return Moments(*moments)


@cache
def _bounds(
    shape: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[Float[Tensor, " xy"], Int[Tensor, ""]]:
    """The last cells that are looked up along x and y, and how far apart rows of cells are."""
    last = torch.tensor([n + 1.0 for n in shape], dtype=dtype, device=device)
    return last, torch.tensor(shape[1] + 2 * _PAD, dtype=torch.int32, device=device)


@kernel
def _pieces(
    density: Float[Tensor, " voxel"],
    first_cell: Int[Tensor, " mu"],
    last: Float[Tensor, " xy"],
    width: Int[Tensor, ""],
    position: Float[Tensor, "xy mu"],
    slope: Float[Tensor, "xy mu"],
    rows: Int[Tensor, " piece"],
    number: Int[Tensor, " piece"],
) -> tuple[Float[Tensor, " piece"], Float[Tensor, " piece"], Float[Tensor, " piece"]]:
    """What pieces of steep flights add to the integrals over the depth of the layer.

    ``rows`` are the flights that they are pieces of, ``number`` counts those of a flight from zero.
    """
    slope = _sloping(slope.index_select(1, rows), density)
    step = slope.detach().abs().amax(0).ceil_().reciprocal_()
    tan = slope * step
    at = position.index_select(1, rows).to(density).addcmul(number, tan)
    moments = _three_cells(density, first_cell.index_select(0, rows), last, width, at, tan)
    below = 1.0 - (number + 1.0) * step
    total, lever, lever2 = _lift(moments, step, below)
    return total, lever, lever2


def _lift(moments: Moments, step: Float[Tensor, " n"], below: Float[Tensor, " n"]) -> Moments:
    """Moments about the lower face from those of a piece of depth ``step`` about its own end."""
    square = step * step
    total, lever, lever2 = (
        moments.total * step, moments.lever * square, moments.lever2 * (square * step)
    )  # fmt: skip
    swung = below * total
    return Moments(total, lever + swung, lever2 + below * (2.0 * lever + swung))


def _sloping(slope: Float[Tensor, "xy mu"], like: Tensor) -> Float[Tensor, "xy mu"]:
    return slope.to(like) + _NUDGE


@kernel
def _shallow(
    density: Float[Tensor, " voxel"],
    first_cell: Int[Tensor, " mu"],
    last: Float[Tensor, " xy"],
    width: Int[Tensor, ""],
    position: Float[Tensor, "xy mu"],
    slope: Float[Tensor, "xy mu"],
) -> tuple[Float[Tensor, " mu"], Float[Tensor, " mu"], Float[Tensor, " mu"], Float[Tensor, " mu"]]:
    """The integrals for slopes of at most 1, those of others mean nothing; and the larger slope."""
    slope = _sloping(slope, density)
    size = slope.detach().abs()
    moments = _three_cells(density, first_cell, last, width, position.to(density), slope)
    return *moments, size[0].maximum(size[1])


def _three_cells(
    density: Tensor,
    first_cell: Tensor,
    last: Tensor,
    width: Tensor,
    position: Tensor,
    slope: Tensor,
) -> Moments:
    """Integrals over a depth of 1: a flight with slopes of at most 1 meets three cells at most."""
    cell, way = position.detach().floor(), slope.detach().sign()
    border = way.clamp(min=0.0).add_(cell)
    left = (1.0 - border.sub_(position) / slope).clamp_(min=0.0)
    cell = cell.clamp(min=-2.0).minimum(last[:, None])
    (x, y), (over_x, over_y) = cell.int(), way.int()
    first = first_cell + y + x * width
    between = first + over_y
    third = between + over_x * width
    # a product: a choice by a mask takes twenty times as long where it goes either way
    second = between + (left[0] > left[1]) * (over_x * width - over_y)
    before, between, behind = (density.index_select(0, of) for of in (first, second, third))
    longer, shorter = left[0].maximum(left[1]), left[0].minimum(left[1])
    rise_1, rise_2 = (between - before) * longer, (behind - between) * shorter
    total = (before + rise_1).add_(rise_2)
    rise_1, rise_2 = rise_1 * longer, rise_2 * shorter
    lever = (before + rise_1).add_(rise_2)
    lever2 = before.addcmul(rise_1, longer).addcmul_(rise_2, shorter)
    return Moments(total, lever.mul_(1.0 / 2.0), lever2.mul_(1.0 / 3.0))
