"""Sums over muons for every voxel, as matrix products of factors per axis.

A weight per voxel that factorises, c_i z_ik x_il y_im, needs no tensor of muons times voxels: the
sum over muons is the product of the matrices (c z) and (x y). Products are formed for blocks of
muons and formed again in the backward pass, so that the memory of the graph is that of the factors.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from tomopt_tasks.inference.axes import SIGMA_FLOOR
from tomopt_tasks.kernels import Pieces, in_pieces, kernel

BLOCK = 4096
"""Muons of a volume that are summed at a time; partial sums are added in this order."""

ELEMENTS = 1 << 18
"""Elements of a temporary product, if a block of one volume has no more: it stays in the caches."""


def voxel_sums(
    channels: Float[Tensor, "vol channel mu"],
    z: Float[Tensor, "vol z mu"],
    x: Float[Tensor, "vol x mu"],
    y: Float[Tensor, "vol y mu"],
) -> Float[Tensor, "vol channel z x y"]:
    """Sum over muons of channel x z-share x x-share x y-share, for every voxel.

    Args:
        channels: what is summed; several quantities share one pass.
        z: shares along z.
        x: shares along x.
        y: shares along y.
    """
    result: Tensor = _VoxelSums.apply(channels, z, x, y)  # type: ignore[no-untyped-call]
    return result


class Crossings(NamedTuple):
    """Where straight lines cross the faces of layers along one axis, and the cells there."""

    at: Float[Tensor, "vol face mu"]
    """One face more than layers: a layer lies between its face and the next [m]."""
    edges: Float[Tensor, " edge"]
    """Borders between cells, ascending [m]; the outermost cells have no outer border."""


def layer_sums(
    layer: Float[Tensor, "vol z mu"], x: Crossings, y: Crossings
) -> Float[Tensor, "vol z x y"]:
    """Sum over muons of a quantity per layer, shared among the cells by overlap along x and y.

    Args:
        layer: what is summed.
        x: crossings along x.
        y: crossings along y.
    """
    result: Tensor = _LayerSums.apply(layer, *x, *y)  # type: ignore[no-untyped-call]
    return result


class _VoxelSums(torch.autograd.Function):
    """Forward and backward of :func:`voxel_sums`: three matrix products in all."""

    @staticmethod
    def forward(ctx: Any, *factors: Tensor) -> Tensor:
        ctx.save_for_backward(*factors)
        shape = [len(factors[0]), *(factor.shape[1] for factor in factors)]
        pieces = _pieces(len(factors[0]), factors[0].shape[2], shape[3] * shape[4])
        return in_pieces(_sums, factors, pieces)[0].view(shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        factors, slope = ctx.saved_tensors, grads[0].flatten(3).flatten(1, 2)
        pieces = _pieces(len(factors[0]), factors[0].shape[2], slope.shape[2])
        return in_pieces(_sums_slopes, (*factors, slope), pieces)


@kernel
def _sums(
    channels: Float[Tensor, "vol channel mu"],
    z: Float[Tensor, "vol z mu"],
    x: Float[Tensor, "vol x mu"],
    y: Float[Tensor, "vol y mu"],
) -> tuple[Float[Tensor, "vol row column"]]:
    return (_products(channels, z) @ _products(x, y).transpose(1, 2),)


@kernel
def _sums_slopes(
    channels: Float[Tensor, "vol channel mu"],
    z: Float[Tensor, "vol z mu"],
    x: Float[Tensor, "vol x mu"],
    y: Float[Tensor, "vol y mu"],
    slope: Float[Tensor, "vol row column"],
) -> tuple[
    Float[Tensor, "vol channel mu"],
    Float[Tensor, "vol z mu"],
    Float[Tensor, "vol x mu"],
    Float[Tensor, "vol y mu"],
]:
    """Derivatives with respect to the four factors of one piece."""
    by_row = (slope @ _products(x, y)).unflatten(1, (channels.shape[1], -1))
    by_column = (slope.transpose(1, 2) @ _products(channels, z)).unflatten(1, (x.shape[1], -1))
    by_channel, by_x = by_row * z[:, None], by_column * y[:, None]
    by_z, by_y = by_row.mul_(channels[:, :, None]), by_column.mul_(x[:, :, None])
    return by_channel.sum(2), by_z.sum(1), by_x.sum(2), by_y.sum(1)


def _pieces(n_volumes: int, n_muons: int, per_muon: int) -> Pieces:
    """Groups of volumes and blocks of muons whose products stay small.

    Args:
        n_volumes: number of volumes.
        n_muons: muons a volume.
        per_muon: elements a muon.
    """
    group = max(1, ELEMENTS // (min(n_muons, BLOCK) * per_muon or 1))
    return [
        (slice(first, first + group), slice(start, start + BLOCK))
        for first in range(0, n_volumes, group)
        for start in range(0, max(n_muons, 1), BLOCK)
    ]


def _products(
    one: Float[Tensor, "vol n mu"], other: Float[Tensor, "vol m mu"]
) -> Float[Tensor, "vol n_m mu"]:
    """Every product of a factor of one axis and a factor of another."""
    return (one[:, :, None] * other[:, None]).flatten(1, 2)


class _LayerSums(torch.autograd.Function):
    """Forward and backward of :func:`layer_sums`; shares are formed anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return in_pieces(_boxes, inputs, _layer_pieces(*inputs))[0]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        slopes = (_steps(grads[0]), _steps(grads[0].transpose(2, 3)))
        found = in_pieces(_box_slopes, (*inputs, *slopes), _layer_pieces(*inputs))
        return found[0], found[1], None, found[2], None


def _layer_pieces(
    layer: Tensor, _x_at: Tensor, x_edges: Tensor, _y_at: Tensor, y_edges: Tensor
) -> Pieces:
    n_volumes, n_layers, n_muons = layer.shape
    return _pieces(n_volumes, n_muons, n_layers * (max(len(x_edges), len(y_edges)) + 1))


@kernel
def _boxes(
    layer: Float[Tensor, "vol z mu"],
    x_at: Float[Tensor, "vol face mu"],
    x_edges: Float[Tensor, " x_edge"],
    y_at: Float[Tensor, "vol face mu"],
    y_edges: Float[Tensor, " y_edge"],
) -> tuple[Float[Tensor, "vol z x y"]]:
    x, y = box_shares(x_at, x_edges), box_shares(y_at, y_edges)
    return (x.mul_(layer[:, :, None]) @ y.transpose(2, 3),)


@kernel
def _box_slopes(
    layer: Float[Tensor, "vol z mu"],
    x_at: Float[Tensor, "vol face mu"],
    x_edges: Float[Tensor, " x_edge"],
    y_at: Float[Tensor, "vol face mu"],
    y_edges: Float[Tensor, " y_edge"],
    by_x_edge: Float[Tensor, "vol z x y"],
    by_y_edge: Float[Tensor, "vol z y x"],
) -> tuple[Float[Tensor, "vol z mu"], Float[Tensor, "vol face mu"], Float[Tensor, "vol face mu"]]:
    """Derivatives with respect to what muons have, given those of :func:`_steps`."""
    x, y = _Overlap.of(x_at, x_edges), _Overlap.of(y_at, y_edges)
    weight = layer[:, :, None]
    by_x = by_x_edge @ y.shares()
    by_y = by_y_edge[:, :, :-1] @ x.shares().mul_(weight)
    by_x, last = by_x[..., :-1, :], by_x[..., -1, :]
    by_layer = (x.covered * by_x).sum(2).add_(last)
    return by_layer, x.slopes(by_x.mul_(weight)), y.slopes(by_y)


def _steps(by_cell: Float[Tensor, "vol z cell other"]) -> Float[Tensor, "vol z cell other"]:
    """From derivatives with respect to cells to those with respect to the edges above them.

    What an edge takes from the cell above it goes to the cell below; the last cell stays.
    """
    steps = by_cell.clone()
    steps[:, :, :-1] -= by_cell[:, :, 1:]
    return steps


def box_shares(
    at: Float[Tensor, "vol face mu"], edges: Float[Tensor, " edge"]
) -> Float[Tensor, "vol z cell mu"]:
    """Share of each cell in the straight stretches between the faces of layers.

    Args:
        at: crossings of the faces [m].
        edges: borders between cells, ascending [m]; the outermost cells have no outer border.
    """
    return _Overlap.of(at, edges).shares()


class _Overlap(NamedTuple):
    """Which part of each stretch lies below each edge."""

    start: Float[Tensor, "vol z mu"]
    end: Float[Tensor, "vol z mu"]
    width: Float[Tensor, "vol z mu"]
    covered: Float[Tensor, "vol z edge mu"]
    """In units of the width."""

    @classmethod
    def of(cls, at: Tensor, edges: Tensor) -> "_Overlap":
        """See :func:`box_shares`."""
        start, end = at[:, 1:], at[:, :-1]
        width = (end - start).abs_().add_(SIGMA_FLOOR)
        low = torch.minimum(start, end)
        covered = (edges[:, None] - low[..., None, :]).div_(width[..., None, :]).clamp_(0.0, 1.0)
        return cls(start, end, width, covered)

    def shares(self) -> Float[Tensor, "vol z cell mu"]:
        """Share of each cell."""
        covered = self.covered
        ends = covered.new_zeros((*covered.shape[:-2], 1, covered.shape[-1]))
        return torch.cat([covered, ends + 1.0], -2).sub_(torch.cat([ends, covered], -2))

    def slopes(self, by_covered: Float[Tensor, "vol z edge mu"]) -> Float[Tensor, "vol face mu"]:
        """Derivatives with respect to the crossings; overwrites those to ``covered``."""
        by_covered *= self.covered.frac().ceil_()  # only edges between the two ends
        whole = by_covered.sum(-2)
        by_high = by_covered.mul_(self.covered).sum(-2).neg_().div_(self.width)
        by_low = whole.neg_().div_(self.width).sub_(by_high)
        forward = self.start <= self.end
        by_start, by_end = (
            torch.where(forward, one, other)
            for one, other in ((by_low, by_high), (by_high, by_low))
        )
        return pad(by_end, (0, 0, 0, 1)) + pad(by_start, (0, 0, 1, 0))
