"""Which straight flights cross a box."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def crosses_box(
    x: Float[Tensor, "*n"],
    y: Float[Tensor, "*n"],
    slope: tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]],
    depths: tuple[float | Tensor, float | Tensor],
    size: tuple[float | Tensor, float | Tensor],
) -> Bool[Tensor, "*n"]:
    """Whether a straight flight meets a box; exact, the whole flight is tested.

    The box is ``[0, size) x [0, size)`` between the two depths below the plane of ``x`` and ``y``.

    Args:
        x: position at depth zero [m].
        y: position at depth zero [m].
        slope: dx and dy per unit of depth (tangents of the projected angles).
        depths: depth of the top and of the bottom of the box [m]; top first.
        size: extent in x and y [m].
    """
    near_x, far_x = _span(x, slope[0], size[0])
    near_y, far_y = _span(y, slope[1], size[1])
    near = near_x.maximum(near_y).clamp(min=depths[0])
    far = far_x.minimum(far_y).clamp(max=depths[1])
    return near < far


def _span(
    position: Float[Tensor, "*n"], slope: Float[Tensor, "*n"], size: float | Tensor
) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Depths at which one coordinate enters and leaves ``[0, size)``."""
    depth = (slope + torch.finfo(slope.dtype).tiny).reciprocal_()  # for a unit of position
    one, other = -position * depth, (size - position) * depth
    return one.minimum(other), one.maximum(other)
