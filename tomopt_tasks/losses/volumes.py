"""Losses of predictions for a whole volume (spec 6)."""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy, mse_loss, nll_loss

from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.losses.integers import integer_class_loss
from tomopt_tasks.losses.voxels import AbsMaterialClassLoss


class VolumeClassLoss(AbsMaterialClassLoss):
    """Negative log likelihood of the class of a volume, or cross entropy of one probability."""

    def get_inference_loss(self, pred: Float[Tensor, "1 cls"], volume: Any) -> Float[Tensor, ""]:
        """Error of log-probabilities (1, classes), or of one probability (1, 1) of class 1."""
        target = self.class_of(torch.as_tensor(volume.target, device=pred.device)).reshape(-1)
        if pred.shape[1] > 1:
            return nll_loss(pred, target)
        return binary_cross_entropy(pred, target[:, None].to(pred))


class VolumeIntClassLoss(AbsDetectorLoss):
    """Mean distance of integer classes from the true one, weighted with their probabilities.

    Args:
        targ2int: (target, volume) -> true integer.
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
        targ2int: Callable[[Tensor, Any], Tensor],
        pred_int_start: int,
        use_mse: bool,
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
        self.targ2int = targ2int
        self.pred_int_start = pred_int_start
        self.use_mse = use_mse

    def get_inference_loss(self, pred: Float[Tensor, "*vol cls"], volume: Any) -> Float[Tensor, ""]:
        """Mean over volumes; ``pred`` are probabilities."""
        target = self.targ2int(torch.as_tensor(volume.target, device=pred.device).clone(), volume)
        return integer_class_loss(pred, target, self.pred_int_start, self.use_mse)


class VolumeMSELoss(AbsDetectorLoss):
    """Mean squared error of what is predicted for one volume."""

    def get_inference_loss(self, pred: Tensor, volume: Any) -> Float[Tensor, ""]:
        """Mean squared difference from the volume's target.

        Raises:
            ValueError: prediction and target hold different numbers of values.
        """
        target = torch.as_tensor(volume.target, device=pred.device).to(pred)
        if target.numel() != pred.numel():
            raise ValueError(
                f"the prediction has shape {tuple(pred.shape)}, but the target "
                f"{tuple(target.shape)}; they must hold the same numbers"
            )
        return mse_loss(pred.reshape(-1), target.reshape(-1))
