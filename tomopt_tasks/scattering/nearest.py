"""Which material a voxel is of, by its radiation length."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

VACUUM = 1e9
"""Radiation lengths beyond this are those of vacuum [m]."""


def nearest(x0: Float[Tensor, "*grid"], log_x0: Float[Tensor, " material"]) -> Int[Tensor, "*grid"]:
    """Number of the material that is nearest in ln X0, in the memory of the grid.

    Args:
        x0: of each voxel [m]; infinite for vacuum, which gets any number.
        log_x0: logarithms of the materials' radiation lengths [m], in any order.
    """
    ascending, order = log_x0.sort()
    between = 0.5 * (ascending[1:] + ascending[:-1])
    return order[torch.bucketize(x0.detach().clamp(max=VACUUM).log(), between)]
