"""Maths of the voxel grid: integer indices, half-open cells, any bottom and any size.

Grids are stored (z, x, y) with z index 0 the lowest layer. A coordinate is turned into an index by
one division, one floor and a clamp (D-24, D-25, D-27, D-59); layers are compared as integers
(D-54).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tomopt_tasks.core import UserError

TOLERANCE = 1.0e-4
"""How far from a whole number of voxels a length may be, in voxels (single precision)."""


def whole_voxels(length: float, voxel: float, what: str) -> int:
    """The number of voxels in a length.

    Args:
        length: [m].
        voxel: edge of a voxel [m].
        what: how the message names the length.

    Raises:
        UserError: the length is not a whole number of voxels.
    """
    n_voxels = length / voxel
    if abs(n_voxels - round(n_voxels)) > TOLERANCE:
        msg = (
            f"{what}: {length:.6g} m is not a whole number of voxels of {voxel:.6g} m "
            f"({n_voxels:.6g}); use a multiple of the voxel"
        )
        raise UserError(msg)
    return round(n_voxels)


def border_index(z: float, bottom: float, voxel: float, what: str) -> int:
    """Number of layers below the border at height ``z`` [m] in a stack that starts at ``bottom``.

    Raises:
        UserError: there is no border of voxels at this height.
    """
    n_layers = (z - bottom) / voxel
    if n_layers < -TOLERANCE or abs(n_layers - round(n_layers)) > TOLERANCE:
        below = bottom + max(0, int(n_layers)) * voxel
        msg = (
            f"{what}: z = {z:.6g} m is not on a border of voxels; the nearest ones are "
            f"{below:.6g} and {below + voxel:.6g} m"
        )
        raise UserError(msg)
    return round(n_layers)


def check_inside(low: Sequence[int], high: Sequence[int], shape: Sequence[int], what: str) -> None:
    """Refuses a box of voxels that is empty or leaves the grid (D-36).

    Args:
        low: first voxel along each axis.
        high: one past the last voxel.
        shape: voxels of the grid, same order of axes.
        what: how the message names the box.

    Raises:
        UserError: naming the box, what was got and what is allowed.
    """
    if any(a < 0 or b <= a or b > n for a, b, n in zip(low, high, shape, strict=True)):
        msg = (
            f"{what}: voxels {tuple(low)} to {tuple(high)} do not lie inside the grid of "
            f"{tuple(shape)}; choose a smaller box or another place"
        )
        raise UserError(msg)


def voxel_indices(
    position: Float[Tensor, "n axis"],
    low: Float[Tensor, " axis"],
    voxel: float,
    shape: Sequence[int],
) -> Int[Tensor, "n axis"]:
    """Voxel that each position lies in, along each axis.

    Voxels are half-open, and a position that lies on a border but for rounding belongs to the upper
    voxel. Positions on the far face, and outside, get the nearest voxel (D-25, D-59).

    Args:
        position: [m].
        low: low corner of the grid [m].
        voxel: edge of a voxel [m].
        shape: number of voxels along each axis.
    """
    last = torch.tensor([n - 1 for n in shape], device=position.device)
    index = ((position - low) / voxel + rounding(position.dtype)).floor().long()
    return index.clamp(min=0).minimum(last)


def rounding(dtype: torch.dtype) -> float:
    """Distance below which two positions are the same [voxels]: 1e-9, 1e-5 in single precision."""
    return 1.0e-9 if dtype == torch.float64 else 1.0e-5


def voxel_corners(
    low: Float[Tensor, "3"], voxel: float, shape: tuple[int, int, int]
) -> Float[Tensor, "voxel 3"]:
    """Low corners of all voxels [m], x slowest, z fastest; any bottom will do (D-24).

    Args:
        low: low corner of the grid, x, y, z [m].
        voxel: edge of a voxel [m].
        shape: number of voxels along x, y, z.
    """
    index = torch.cartesian_prod(*(torch.arange(n, device=low.device) for n in shape))
    return low + voxel * index.to(low)
