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
        self, turn: Float[Tensor, "2 mu"], shift: Float[Tensor, "2 mu"], depth: Depth
    ) -> "Flight":
        """At the lower face of a layer, which adds ``turn`` to slopes and ``shift`` to positions.

        Slopes and positions add up in their own precision, that of the changes may be lower.
        """
        position = (self.position + self.slope).add_(shift)
        slope = (self.slope + turn).clamp_(-LARGEST_SLOPE, LARGEST_SLOPE)
        return Flight(position, slope, depth)


def no_depth(like: Float[Tensor, " mu"]) -> Depth:
    """Muons that have crossed nothing yet."""
    return Depth(torch.zeros_like(like), torch.zeros_like(like))


def secant_of(slope: Float[Tensor, "2 mu"]) -> Float[Tensor, " mu"]:
    """Path per unit of depth."""
    return slope[0].square().addcmul_(slope[1], slope[1]).add_(1.0).sqrt_()
