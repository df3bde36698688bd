"""What all losses of a detector share: an error of the prediction and the price of the detector."""

import logging
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomopt_tasks.volume.on_host import OnHost

_log = logging.getLogger(__name__)


class AbsDetectorLoss(nn.Module):
    """Error of one prediction plus, where there is a target budget, the cost of the detector.

    The weight of the cost term is part of the state (``state_dict``): where ``cost_coef`` is None
    and there is a target budget, it becomes the error of the first evaluation, so that both terms
    start alike; ``CostCoefWarmup`` puts a median over volumes there, which is less noisy (D-57).

    Args:
        target_budget: cost that the detector should keep; > 0. None: no cost term.
        budget_smoothing: sharpness of the rise of the cost term around the target; > 0.
        cost_coef: weight of the cost term, in units of the error; None: see above.
        steep_budget: the term rises linearly above the target instead of saturating first.
        debug: log all terms at each call.

    Raises:
        ValueError: ``target_budget`` or ``budget_smoothing`` is not positive.
    """

    _cost_coef: Tensor

    def __init__(
        self,
        *,
        target_budget: float | None,
        budget_smoothing: float = 10,
        cost_coef: float | None = None,
        steep_budget: bool = True,
        debug: bool = False,
    ) -> None:
        super().__init__()
        if target_budget is not None and not target_budget > 0:
            raise ValueError(
                f"target_budget = {target_budget} is not positive; use None for no cost term"
            )
        if not budget_smoothing > 0:
            raise ValueError(f"budget_smoothing = {budget_smoothing} is not positive")
        self.target_budget = target_budget
        self.budget_smoothing = budget_smoothing
        self.steep_budget = steep_budget
        self.debug = debug
        self.sub_losses: dict[str, Tensor] = {}
        self.register_buffer("_cost_coef", torch.full((1,), torch.nan, dtype=torch.float64))
        self._on_host = OnHost()
        self.cost_coef = cost_coef

    @property
    def cost_coef(self) -> float | None:
        """Weight of the cost term; None as long as it has not been set."""
        (value,) = self._on_host.read([self._cost_coef], lambda: [self._cost_coef])
        return None if value != value else value  # noqa: PLR0124 - NaN stands for None

    @cost_coef.setter
    def cost_coef(self, value: float | Tensor | None) -> None:
        self._cost_coef.fill_(torch.nan if value is None else float(value))

    def get_inference_loss(self, pred: Tensor, volume: Any) -> Float[Tensor, ""]:
        """Error of the prediction for the volume."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method get_inference_loss(pred, volume) of its own"
        )

    def forward(self, pred: Tensor, volume: Any) -> Tensor:
        """Error plus cost term; both are kept in ``sub_losses``.

        Args:
            pred: prediction for the volume.
            volume: holds the truth and knows the cost of its detectors.
        """
        error = self.get_inference_loss(pred, volume)
        self.sub_losses = {"error": error, "cost": self._cost_term(error, volume)}
        if self.debug:
            _log.info(
                "%s: error %.4g, cost term %.4g (coefficient %s, cost %.4g)",
                type(self).__name__,
                float(error.detach()),
                float(self.sub_losses["cost"].detach()),
                self.cost_coef,
                float(volume.get_cost().detach()),
            )
        return self.sub_losses["error"] + self.sub_losses["cost"]

    def _cost_term(self, error: Float[Tensor, ""], volume: Any) -> Float[Tensor, "1"]:
        if self.target_budget is None:
            return torch.zeros(1, dtype=error.dtype, device=error.device)
        if self.cost_coef is None:
            self.cost_coef = error.detach()
            _log.info("%s: cost coefficient is %.4g", type(self).__name__, self.cost_coef)
        share = volume.get_cost() / self.target_budget
        self._cost_coef = self._cost_coef.to(share.device)
        coefficient = self._cost_coef.to(share.dtype)
        return coefficient * budget_coef(share, self.budget_smoothing, steep=self.steep_budget)


def budget_coef(
    share: Float[Tensor, "*n"], smoothing: float, *, steep: bool
) -> Float[Tensor, "*n"]:
    """Price of a detector relative to that of one which just keeps the budget, which costs 1.

    With d = smoothing (share - 1): below the target 2 sigmoid(d) in both forms; above it 1 + d / 2
    (steep), or 2 sigmoid(d) + share - 1.

    Args:
        share: cost over target budget.
        smoothing: sharpness of the rise; > 0.
        steep: which form.
    """
    distance = smoothing * (share - 1.0)
    soft = 2.0 * torch.sigmoid(distance)
    if steep:
        return torch.where(distance > 0, 1.0 + 0.5 * distance, soft)
    return soft + torch.relu(share - 1.0)
