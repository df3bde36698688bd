"""Sums over muons for every voxel, as matrix products of factors per axis.

A weight per voxel that factorises, c_i z_ik x_il y_im, needs no tensor of muons times voxels: the
sum over muons is the product of the matrices (c z) and (x y). Products are formed for blocks of
muons and formed again in the backward pass, so that the memory of the graph is that of the factors.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

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


def layer_sums(
    layer: Float[Tensor, "vol mu z"],
    x: Float[Tensor, "vol mu z x"],
    y: Float[Tensor, "vol mu z y"],
) -> Float[Tensor, "vol z x y"]:
    """Sum over muons of a quantity per layer times shares along x and y that depend on the layer.

    Args:
        layer: what is summed.
        x: shares along x in each layer.
        y: shares along y in each layer.
    """
    left = (layer[..., None] * x).permute(0, 2, 3, 1)
    right = y.transpose(1, 2)
    parts = [
        left[..., start : start + BLOCK] @ right[:, :, start : start + BLOCK]
        for start in range(0, left.shape[-1], BLOCK)
    ]
    return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]


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
