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

from tomopt_tasks.inference.axes import SIGMA_FLOOR
from tomopt_tasks.kernels import kernel

BLOCK = 4096
"""Muons of a volume that are summed at a time; partial sums are added in this order."""

ELEMENTS = 1 << 17
"""Elements of a temporary product, if a block of one volume has no more: it stays in the caches."""


def voxel_sums(
    channels: Float[Tensor, "vol mu channel"],
    z: Float[Tensor, "vol mu z"],
    x: Float[Tensor, "vol mu x"],
    y: Float[Tensor, "vol mu y"],
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


class Stretches(NamedTuple):
    """Where straight lines begin and end along one axis, layer by layer, and the cells there."""

    start: Float[Tensor, "vol z mu"]
    """[m]."""
    end: Float[Tensor, "vol z mu"]
    """[m]; may be smaller than ``start``."""
    edges: Float[Tensor, " edge"]
    """Borders between cells, ascending [m]; the outermost cells have no outer border."""


def layer_sums(
    layer: Float[Tensor, "vol z mu"], x: Stretches, y: Stretches
) -> Float[Tensor, "vol z x y"]:
    """Sum over muons of a quantity per layer, shared among the cells by overlap along x and y.

    Args:
        layer: what is summed.
        x: stretches along x.
        y: stretches along y.
    """
    result: Tensor = _LayerSums.apply(layer, *x, *y)  # type: ignore[no-untyped-call]
    return result


class _VoxelSums(torch.autograd.Function):
    """Forward and backward of :func:`voxel_sums`: three matrix products in all.

    Factors are turned so that muons come last.
    """

    @staticmethod
    def forward(ctx: Any, *factors: Tensor) -> Tensor:
        ctx.save_for_backward(*factors)
        turned = [factor.transpose(1, 2) for factor in factors]
        (n_volumes, _, n_muons), shape = turned[0].shape, [factor.shape[1] for factor in turned]
        total = turned[0].new_zeros(n_volumes, shape[0] * shape[1], shape[2] * shape[3])
        for some, part in _pieces(n_volumes, n_muons, total.shape[2]):
            (piece,) = _sums.run(*(factor[some, :, part] for factor in turned))
            total[some] += piece
        return total.view(n_volumes, *shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        turned = [factor.transpose(1, 2) for factor in ctx.saved_tensors]
        n_volumes, n_muons = len(turned[0]), turned[0].shape[2]
        slope = grads[0].flatten(3).flatten(1, 2)
        result = [torch.empty_like(factor) for factor in turned]
        for some, part in _pieces(n_volumes, n_muons, slope.shape[2]):
            factors = [factor[some, :, part] for factor in turned]
            for whole, piece in zip(result, _sums_slopes.run(*factors, slope[some]), strict=True):
                whole[some, :, part] = piece
        return tuple(gradient.transpose(1, 2) for gradient in result)


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


def _pieces(n_volumes: int, n_muons: int, per_muon: int) -> list[tuple[slice, slice]]:
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
        for start in range(0, n_muons, BLOCK)
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
        layer, x_start, x_end, x_edges, y_start, y_end, y_edges = inputs
        n_x, n_y = len(x_edges) + 1, len(y_edges) + 1
        total = layer.new_zeros((*layer.shape[:2], n_x, n_y))
        for some, part in _pieces(len(layer), layer.shape[2], layer.shape[1] * max(n_x, n_y)):
            muons = (of[some, :, part] for of in (layer, x_start, x_end, y_start, y_end))
            (piece,) = _boxes.run(*muons, x_edges, y_edges)
            total[some] += piece
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        layer, x_start, x_end, x_edges, y_start, y_end, y_edges = ctx.saved_tensors
        result = [torch.empty_like(layer) for _ in range(5)]
        by_x_edge, by_y_edge = _steps(grads[0]), _steps(grads[0].transpose(2, 3))
        n_cells = max(len(x_edges), len(y_edges)) + 1
        for some, part in _pieces(len(layer), layer.shape[2], layer.shape[1] * n_cells):
            muons = (of[some, :, part] for of in (layer, x_start, x_end, y_start, y_end))
            pieces = _box_slopes.run(*muons, x_edges, y_edges, by_x_edge[some], by_y_edge[some])
            for whole, piece in zip(result, pieces, strict=True):
                whole[some, :, part] = piece
        return result[0], result[1], result[2], None, result[3], result[4], None


@kernel
def _boxes(
    layer: Float[Tensor, "vol z mu"],
    x_start: Float[Tensor, "vol z mu"],
    x_end: Float[Tensor, "vol z mu"],
    y_start: Float[Tensor, "vol z mu"],
    y_end: Float[Tensor, "vol z mu"],
    x_edges: Float[Tensor, " x_edge"],
    y_edges: Float[Tensor, " y_edge"],
) -> tuple[Float[Tensor, "vol z x y"]]:
    x, y = box_shares(x_start, x_end, x_edges), box_shares(y_start, y_end, y_edges)
    return (x.mul_(layer[:, :, None]) @ y.transpose(2, 3),)


@kernel
def _box_slopes(
    layer: Float[Tensor, "vol z mu"],
    x_start: Float[Tensor, "vol z mu"],
    x_end: Float[Tensor, "vol z mu"],
    y_start: Float[Tensor, "vol z mu"],
    y_end: Float[Tensor, "vol z mu"],
    x_edges: Float[Tensor, " x_edge"],
    y_edges: Float[Tensor, " y_edge"],
    by_x_edge: Float[Tensor, "vol z x y"],
    by_y_edge: Float[Tensor, "vol z y x"],
) -> tuple[
    Float[Tensor, "vol z mu"],
    Float[Tensor, "vol z mu"],
    Float[Tensor, "vol z mu"],
    Float[Tensor, "vol z mu"],
    Float[Tensor, "vol z mu"],
]:
    """Derivatives with respect to what muons have, given those of :func:`_steps`."""
    x, y = _Overlap.of(x_start, x_end, x_edges), _Overlap.of(y_start, y_end, y_edges)
    weight = layer[:, :, None]
    by_x = by_x_edge @ y.shares()
    by_y = by_y_edge[:, :, :-1] @ x.shares().mul_(weight)
    by_x, last = by_x[..., :-1, :], by_x[..., -1, :]
    by_layer = (x.covered * by_x).sum(2).add_(last)
    return by_layer, *x.slopes(by_x.mul_(weight)), *y.slopes(by_y)


def _steps(by_cell: Float[Tensor, "vol z cell other"]) -> Float[Tensor, "vol z cell other"]:
    """From derivatives with respect to cells to those with respect to the edges above them.

    What an edge takes from the cell above it goes to the cell below; the last cell stays.
    """
    steps = by_cell.clone()
    steps[:, :, :-1] -= by_cell[:, :, 1:]
    return steps


def box_shares(
    start: Float[Tensor, "*layer mu"],
    end: Float[Tensor, "*layer mu"],
    edges: Float[Tensor, " edge"],
) -> Float[Tensor, "*layer cell mu"]:
    """Share of each cell in a straight stretch; the outermost cells have no outer border.

    Args:
        start: one end [m].
        end: the other end [m].
        edges: borders between cells, ascending [m].
    """
    return _Overlap.of(start, end, edges).shares()


class _Overlap(NamedTuple):
    """Which part of each stretch lies below each edge."""

    start: Float[Tensor, "*layer mu"]
    end: Float[Tensor, "*layer mu"]
    width: Float[Tensor, "*layer mu"]
    covered: Float[Tensor, "*layer edge mu"]
    """In units of the width."""

    @classmethod
    def of(cls, start: Tensor, end: Tensor, edges: Tensor) -> "_Overlap":
        """See :func:`box_shares`."""
        width = (end - start).abs_().add_(SIGMA_FLOOR)
        low = torch.minimum(start, end)
        covered = (edges[:, None] - low[..., None, :]).div_(width[..., None, :]).clamp_(0.0, 1.0)
        return cls(start, end, width, covered)

    def shares(self) -> Float[Tensor, "*layer cell mu"]:
        """Share of each cell."""
        covered = self.covered
        ends = covered.new_zeros((*covered.shape[:-2], 1, covered.shape[-1]))
        return torch.cat([covered, ends + 1.0], -2).sub_(torch.cat([ends, covered], -2))

    def slopes(self, by_covered: Float[Tensor, "*layer edge mu"]) -> tuple[Tensor, Tensor]:
        """Derivatives with respect to the two ends; overwrites those to ``covered``."""
        by_covered *= self.covered.frac().ceil_()  # only edges between the two ends
        whole = by_covered.sum(-2)
        by_high = by_covered.mul_(self.covered).sum(-2).neg_().div_(self.width)
        by_low = whole.neg_().div_(self.width).sub_(by_high)
        forward = self.start <= self.end
        return torch.where(forward, by_low, by_high), torch.where(forward, by_high, by_low)
