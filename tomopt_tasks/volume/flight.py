"""Muons on their way through layers of voxels."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.kick import LARGEST_SLOPE
from tomopt_tasks.scattering.moments import Depth


class Flight(NamedTuple):
    """Muons on a horizontal plane; lengths in voxels."""

    position: Float[Tensor, "2 mu"]
    slope: Float[Tensor, "2 mu"]
    depth: Depth
    """Matter that each has crossed."""


def go_on(
    position: Float[Tensor, "2 mu"],
    slope: Float[Tensor, "2 mu"],
    turn: Float[Tensor, "2 mu"],
    shift: Float[Tensor, "2 mu"],
) -> tuple[Float[Tensor, "2 mu"], Float[Tensor, "2 mu"]]:
    """Positions and slopes at the lower face of a layer that turns and shifts a flight.

    They add up in their own precision, that of the changes may be lower.

    Args:
        position: at the upper face [voxels].
        slope: there.
        turn: what is added to the slopes.
        shift: what is added to the crossing of the lower face [voxels].
    """
    below = (position + slope).add_(shift)
    return below, (slope + turn).clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)


def no_depth(like: Float[Tensor, " mu"]) -> Depth:
    """Muons that have crossed nothing yet."""
    return Depth(torch.zeros_like(like), torch.zeros_like(like))


def secant_of(slope: Float[Tensor, "2 mu"]) -> Float[Tensor, " mu"]:
    """Path per unit of depth."""
    return slope[0].square().addcmul_(slope[1], slope[1]).add_(1.0).sqrt_()
