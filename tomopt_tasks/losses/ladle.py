"""Loss of the ladle-furnace benchmark for classified fill levels (spec 6)."""

from typing import Any

import torch
from torch import Tensor

from tomopt_tasks.losses.volumes import VolumeIntClassLoss

ROUNDING = 1e-4
"""Part of a voxel by which a level may lie below a border because of rounding (float32)."""


class LadleFurnaceIntClassLoss(VolumeIntClassLoss):
    """Distance of the layer in which the fill ends.

    Args:
        pred_int_start: integer of the first class.
        use_mse: squared distances instead of absolute ones.
        target_budget: see :class:`.AbsDetectorLoss`, like the other arguments.
        budget_smoothing: as there.
        cost_coef: as there.
        steep_budget: as there.
        debug: as there.
    """

    def __init__(
        self,
        *,
        pred_int_start: int = 0,
        use_mse: bool,
        target_budget: float | None,
        budget_smoothing: float = 10,
        cost_coef: float | None = None,
        steep_budget: bool = True,
        debug: bool = False,
    ) -> None:
        super().__init__(
            targ2int=layer_of_level,
            pred_int_start=pred_int_start,
            use_mse=use_mse,
            target_budget=target_budget,
            budget_smoothing=budget_smoothing,
            cost_coef=cost_coef,
            steep_budget=steep_budget,
            debug=debug,
        )


def layer_of_level(target: Tensor, volume: Any) -> Tensor:
    """Number of the layer above the floor whose top is the highest one not above the level.

    Args:
        target: fill level [m].
        volume: its range in z and its voxel size.
    """
    z_low, _ = volume.z_range
    layers = (target.double() - z_low) / float(volume.passive_size)
    return torch.floor(layers + ROUNDING).long() - 1
