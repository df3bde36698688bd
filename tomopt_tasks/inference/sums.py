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

BLOCK = 4096
"""Muons of a volume that are summed at a time; partial sums are added in this order."""

ELEMENTS = 1 << 23
"""Most elements of a temporary product."""


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
    """Forward and backward of :func:`voxel_sums`: three matrix products in all."""

    @staticmethod
    def forward(ctx: Any, channels: Tensor, z: Tensor, x: Tensor, y: Tensor) -> Tensor:
        ctx.save_for_backward(channels, z, x, y)
        n_volumes, n_muons, n_channels = channels.shape
        shape = (n_volumes, n_channels * z.shape[2], x.shape[2] * y.shape[2])
        total = channels.new_zeros(shape)
        for some, part in _pieces(n_volumes, n_muons, shape[2]):
            rows = _rows(channels[some, part], z[some, part])
            total[some] += rows.transpose(1, 2) @ _columns(x[some, part], y[some, part])
        return total.view(n_volumes, n_channels, z.shape[2], x.shape[2], y.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        channels, z, x, y = ctx.saved_tensors
        n_volumes, n_muons, n_channels = channels.shape
        slope = grads[0].reshape(n_volumes, n_channels * z.shape[2], -1)
        result = tuple(torch.empty_like(factor) for factor in (channels, z, x, y))
        for some, part in _pieces(n_volumes, n_muons, slope.shape[2]):
            factors = (channels[some, part], z[some, part], x[some, part], y[some, part])
            for whole, piece in zip(result, _backward(factors, slope[some]), strict=True):
                whole[some, part] = piece
        return result


def _backward(
    factors: tuple[Tensor, Tensor, Tensor, Tensor], slope: Float[Tensor, "vol row column"]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Derivatives with respect to the four factors of one piece."""
    channels, z, x, y = factors
    by_row = (_columns(x, y) @ slope.transpose(1, 2)).unflatten(2, (channels.shape[2], -1))
    by_column = (_rows(channels, z) @ slope).unflatten(2, (x.shape[2], -1))
    return (
        (by_row @ z[..., None])[..., 0],
        (channels[:, :, None] @ by_row)[:, :, 0],
        (by_column @ y[..., None])[..., 0],
        (x[:, :, None] @ by_column)[:, :, 0],
    )


def _pieces(n_volumes: int, n_muons: int, n_columns: int) -> list[tuple[slice, slice]]:
    """Groups of volumes and blocks of muons whose products stay small."""
    group = max(1, ELEMENTS // (min(n_muons, BLOCK) * n_columns or 1))
    return [
        (slice(first, first + group), slice(start, start + BLOCK))
        for first in range(0, n_volumes, group)
        for start in range(0, n_muons, BLOCK)
    ]


def _rows(channels: Tensor, z: Tensor) -> Float[Tensor, "vol mu row"]:
    return (channels[..., :, None] * z[..., None, :]).flatten(2)


def _columns(x: Tensor, y: Tensor) -> Float[Tensor, "vol mu column"]:
    return (x[..., :, None] * y[..., None, :]).flatten(2)


class _LayerSums(torch.autograd.Function):
    """Forward and backward of :func:`layer_sums`; shares are formed anew in the backward pass."""

    @staticmethod
    def forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        layer, x_start, x_end, x_edges, y_start, y_end, y_edges = inputs
        total = layer.new_zeros((*layer.shape[:2], len(x_edges) + 1, len(y_edges) + 1))
        for part in _blocks(layer.shape[2]):
            x = box_shares(x_start[..., part], x_end[..., part], x_edges)
            y = box_shares(y_start[..., part], y_end[..., part], y_edges)
            total += x.mul_(layer[..., part, None]).transpose(2, 3) @ y
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        layer, x_start, x_end, x_edges, y_start, y_end, y_edges = ctx.saved_tensors
        result = [torch.empty_like(layer) for _ in range(5)]
        for part in _blocks(layer.shape[2]):
            ends_x = (x_start[..., part], x_end[..., part], x_edges)
            ends_y = (y_start[..., part], y_end[..., part], y_edges)
            weight = layer[..., part, None]
            x, y = box_shares(*ends_x), box_shares(*ends_y)
            by_x = y @ grads[0].transpose(2, 3)
            by_y = (x * weight) @ grads[0]
            result[0][..., part] = (by_x * x).sum(-1)
            result[1][..., part], result[2][..., part] = _box_slopes(*ends_x, by_x.mul_(weight))
            result[3][..., part], result[4][..., part] = _box_slopes(*ends_y, by_y)
        return result[0], result[1], result[2], None, result[3], result[4], None


def box_shares(
    start: Float[Tensor, "*mu"], end: Float[Tensor, "*mu"], edges: Float[Tensor, " edge"]
) -> Float[Tensor, "*mu cell"]:
    """Share of each cell in a straight stretch; the outermost cells have no outer border.

    Args:
        start: one end [m].
        end: the other end [m].
        edges: borders between cells, ascending [m].
    """
    covered = _covered(start, end, edges)
    shares = covered.new_empty((*start.shape, len(edges) + 1))
    shares[..., -1] = 1.0
    shares[..., :-1] = covered
    shares[..., 1:] -= covered
    return shares


def _covered(start: Tensor, end: Tensor, edges: Tensor) -> Float[Tensor, "*mu edge"]:
    """Fraction of a stretch that lies below each edge."""
    width = (end - start).abs_().add_(SIGMA_FLOOR)[..., None]
    return (edges - torch.minimum(start, end)[..., None]).div_(width).clamp_(0.0, 1.0)


def _box_slopes(
    start: Tensor, end: Tensor, edges: Tensor, by_share: Float[Tensor, "*mu cell"]
) -> tuple[Tensor, Tensor]:
    """Derivatives with respect to the two ends of a stretch, given those to its shares."""
    covered = _covered(start, end, edges)
    by_covered = by_share[..., :-1] - by_share[..., 1:]
    by_covered *= (covered > 0) & (covered < 1)
    width = (end - start).abs_().add_(SIGMA_FLOOR)
    whole = by_covered.sum(-1)
    by_high = (by_covered * covered).sum(-1).neg_().div_(width)
    by_low = -whole.div_(width).add_(by_high)
    forward = start <= end
    return torch.where(forward, by_low, by_high), torch.where(forward, by_high, by_low)


def _blocks(n_muons: int) -> list[slice]:
    return [slice(first, first + BLOCK) for first in range(0, n_muons, BLOCK)]
