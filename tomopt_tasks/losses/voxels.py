"""Losses of predictions for every voxel (spec 6)."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import nll_loss

from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.utils import x0targs_to_classtargs


class VoxelX0Loss(AbsDetectorLoss):
    """Mean squared error of the radiation lengths [m2]; voxels of infinite length do not count.

    Args:
        target_budget: see :class:`.AbsDetectorLoss`, like the other arguments.
        budget_smoothing: as there.
        cost_coef: as there.
        steep_budget: as there.
        debug: as there.
        of: ``density``: error of the scattering densities 1 / X0 instead [1/m2]; all voxels count.
    """

    def __init__(
        self,
        *,
        target_budget: float | None,
        budget_smoothing: float = 10,
        cost_coef: float | None = None,
        steep_budget: bool = True,
        debug: bool = False,
        of: Literal["x0", "density"] = "x0",
    ) -> None:
        super().__init__(
            target_budget=target_budget,
            budget_smoothing=budget_smoothing,
            cost_coef=cost_coef,
            steep_budget=steep_budget,
            debug=debug,
        )
        self.of = of

    def get_inference_loss(self, pred: Float[Tensor, "z x y"], volume: Any) -> Float[Tensor, ""]:
        """Mean squared difference from the volume's radiation lengths, or densities."""
        truth = volume.get_rad_cube().to(pred)
        if self.of == "density":
            error: Tensor = ((1.0 / pred - 1.0 / truth) ** 2).mean()
            return error
        matter = torch.isfinite(truth)
        difference = torch.where(matter, pred - torch.where(matter, truth, 0.0), 0.0)
        return (difference**2).sum() / matter.sum().clamp_min(1)


class AbsMaterialClassLoss(AbsDetectorLoss):
    """Base of losses for predicted classes of material.

    Args:
        x02id: radiation length [m] -> class; a truth takes the class of the nearest length (D-26).
        target_budget: see :class:`.AbsDetectorLoss`, like the other arguments.
        budget_smoothing: as there.
        cost_coef: as there.
        steep_budget: as there.
        debug: as there.
    """

    def __init__(
        self,
        *,
        x02id: Mapping[float, int],
        target_budget: float | None,
        budget_smoothing: float = 10,
        cost_coef: float | None = None,
        steep_budget: bool = True,
        debug: bool = False,
    ) -> None:
        super().__init__(
            target_budget=target_budget,
            budget_smoothing=budget_smoothing,
            cost_coef=cost_coef,
            steep_budget=steep_budget,
            debug=debug,
        )
        self.x02id = dict(x02id)

    def class_of(self, x0: Tensor) -> Tensor:
        """Classes of true radiation lengths [m], as integers of the same shape."""
        return x0targs_to_classtargs(x0.double(), self.x02id).long()


class VoxelClassLoss(AbsMaterialClassLoss):
    """Negative log likelihood of the class of every voxel."""

    def get_inference_loss(
        self,
        pred: Float[Tensor, "1 cls voxel"],
        volume: Any,
    ) -> Float[Tensor, ""]:
        """Mean over voxels; ``pred`` are log-probabilities, voxels flattened from (z, x, y)."""
        target = self.class_of(volume.get_rad_cube()).to(pred.device).reshape(1, -1)
        return nll_loss(pred, target)
