"""Muons on their way through layers of voxels."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tomopt_tasks.scattering.moments import Depth

Pair = tuple[Tensor, Tensor]


class Flight(NamedTuple):
    """Muons on a horizontal plane; lengths in voxels."""

    position: Pair
    slope: Pair
    depth: Depth
    """Matter that each has crossed."""


def no_depth(like: Float[Tensor, " mu"]) -> Depth:
    """Muons that have crossed nothing yet."""
    return Depth(torch.zeros_like(like), torch.zeros_like(like))
