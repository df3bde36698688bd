"""The price of the detector where a loss looks at a whole batch of volumes at once."""

from typing import ClassVar

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.losses.base import budget_coef


class BatchCost(Callback):
    """Adds the cost term of :class:`.AbsDetectorLoss` to the loss of a batch.

    It stands behind the callback that sets that loss, and does nothing where there is none.

    Args:
        target_budget: cost that the detector should keep; > 0.
        budget_smoothing: sharpness of the rise around the target; > 0.
        cost_coef: weight of the term; None: the size of the first loss, kept from then on.
        steep_budget: the term rises linearly above the target instead of saturating first.
    """

    remembers: ClassVar[tuple[str, ...]] = ("cost_coef",)

    def __init__(
        self,
        target_budget: float,
        budget_smoothing: float = 10.0,
        cost_coef: float | None = None,
        *,
        steep_budget: bool = True,
    ) -> None:
        self.target_budget = target_budget
        self.budget_smoothing = budget_smoothing
        self.cost_coef = cost_coef
        self.steep_budget = steep_budget

    def on_volume_batch_end(self) -> None:
        """Add the term."""
        fit = self.fit_params
        if fit.mean_loss is None:
            return
        if self.cost_coef is None:
            self.cost_coef = abs(float(fit.mean_loss.detach().sum()))
        share = self.attached.volume.get_cost() / self.target_budget
        price = budget_coef(share, self.budget_smoothing, steep=self.steep_budget)
        fit.mean_loss = fit.mean_loss + self.cost_coef * price.sum()
