"""Objective and bias correction of the ladle-furnace benchmark (spec 9.10)."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.losses.spread import expected_mse, spread_over_range


class BatchLoss(Callback):
    """Replaces the loss of a batch by a function of all its predictions and targets.

    Args:
        objective: from predictions and targets of a batch to its loss; None: not enough volumes.
    """

    def __init__(
        self,
        objective: Callable[[Float[Tensor, " vol"], Float[Tensor, " vol"]], Tensor | None],
    ) -> None:
        self.objective = objective
        self._pairs: list[tuple[Tensor, Tensor]] = []

    def on_volume_batch_begin(self) -> None:
        """Forget the previous batch."""
        self._pairs = []

    def on_x0_pred_end(self) -> None:
        """Note the prediction and its target."""
        fit = self.fit_params
        if fit.pred is not None:
            target = torch.as_tensor(self.attached.volume.target).reshape(-1)[0]
            self._pairs.append((fit.pred.reshape(-1)[0], target))

    def on_volume_batch_end(self) -> None:
        """Set the loss of the batch."""
        self.fit_params.mean_loss = None
        if self._pairs:
            predictions = torch.stack([prediction for prediction, _ in self._pairs])
            targets = torch.stack([target for _, target in self._pairs]).to(predictions)
            self.fit_params.mean_loss = self.objective(predictions, targets)


class SpreadRangeLoss(BatchLoss):
    """Replaces the loss of a batch by the spread of predictions over the range of their means.

    Predictions are grouped by the target of their volume; see
    :func:`tomopt_tasks.losses.spread.spread_over_range`.
    """

    def __init__(self) -> None:
        super().__init__(spread_over_range)


LEAST_ERROR = 1e-6
"""Share of the variance of the targets below which an expected error is not believed. Where a
single muon is left in each volume its scatter seems to be none: fewer muons would seem better."""


class ExpectedMSELoss(Callback):
    """Replaces the loss of a batch by the calibrated error to expect, on a logarithmic scale.

    See :func:`tomopt_tasks.losses.spread.expected_mse`; the inferrer must know the variance of its
    predictions. The logarithm makes steps independent of the unit and of the size of the error.
    """

    def __init__(self) -> None:
        self._rows: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_volume_batch_begin(self) -> None:
        """Forget the previous batch."""
        self._rows = []

    def on_x0_pred_end(self) -> None:
        """Note prediction, target and variance.

        Raises:
            ValueError: the inferrer gives no variance.
        """
        fit = self.fit_params
        if fit.pred is None:
            return
        if fit.pred_var is None:
            raise ValueError(
                f"{type(fit.volume_inferrer).__name__} gives no variance of its predictions, which "
                "the loss expected_mse needs; use volume_mse"
            )
        target = torch.as_tensor(self.attached.volume.target).reshape(-1)[0]
        self._rows.append((fit.pred.reshape(-1)[0], target, fit.pred_var.reshape(())))

    def on_volume_batch_end(self) -> None:
        """Set the loss of the batch."""
        self.fit_params.mean_loss = None
        if self._rows:
            predictions, targets, variances = (
                torch.stack(c) for c in zip(*self._rows, strict=True)
            )
            targets = targets.to(predictions)
            error = expected_mse(predictions, targets, variances)
            if error is not None:
                least = LEAST_ERROR * targets.var(correction=0)
                self.fit_params.mean_loss = torch.log(torch.maximum(error, least))


class LinearCorrectionCallback(Callback):
    """Corrects predictions by a straight line that is refitted after every update.

    The line minimises the mean squared error of the last training batches in closed form, where the
    seed's system takes 10 000 gradient steps; the optimiser argument is accepted and not needed.

    Args:
        partial_opt: kept for compatibility.
        init_weight: slope before the first update.
        init_bias: intercept before the first update [unit of the target].
    """

    remembers: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def __init__(
        self,
        partial_opt: Callable[[Iterable[nn.Parameter]], Any] | None = None,
        init_weight: float = 1.0,
        init_bias: float = 0.0,
    ) -> None:
        self.partial_opt = partial_opt
        self.weight = float(init_weight)
        self.bias = float(init_bias)
        self._raw: list[Tensor] = []
        self._targets: list[Tensor] = []

    def on_x0_pred_end(self) -> None:
        """Correct the prediction and its variance; note the raw one in training."""
        fit = self.fit_params
        if fit.pred is None:
            return
        if fit.state == "train":
            self._raw.append(fit.pred.detach().reshape(-1)[0])
            self._targets.append(torch.as_tensor(self.attached.volume.target).reshape(-1)[0])
        fit.pred = self.weight * fit.pred + self.bias
        if fit.pred_var is not None:
            fit.pred_var = self.weight**2 * fit.pred_var

    def on_backwards_end(self) -> None:
        """Refit the line to the batch."""
        if len(self._raw) >= 2:
            raw = torch.stack(self._raw)
            self.weight, self.bias = fit_line(raw, torch.stack(self._targets).to(raw))
        self._raw, self._targets = [], []


def fit_line(raw: Float[Tensor, " vol"], targets: Float[Tensor, " vol"]) -> tuple[float, float]:
    """Slope and intercept of the least-squares line from predictions to targets.

    A constant prediction gives slope 0 and the mean target.
    """
    centred = raw - raw.mean()
    spread = float((centred**2).sum())
    slope = float((centred * (targets - targets.mean())).sum()) / spread if spread > 0 else 0.0
    return slope, float(targets.mean()) - slope * float(raw.mean())
