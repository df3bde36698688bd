"""Callbacks that end a fit, or give back its best detector."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.epoch_loss import LossWatcher
from tomopt_tasks.callbacks.metrics import EvalMetric


class EarlyStopping(LossWatcher):
    """Stops the fit when the loss has not improved for a number of epochs.

    Epochs of a warm-up do not count. Stands after callbacks that replace the loss.

    Args:
        patience: epochs without improvement after which the fit stops; >= 1.
        min_change: smallest decrease that counts as an improvement, in the unit of the loss.
        metric: judge by this metric, which stands earlier in the list; None: by the loss.
    """

    remembers: ClassVar[tuple[str, ...]] = (
        *LossWatcher.remembers,
        "best",
        "n_waited",
        "stopped",
    )

    def __init__(
        self, patience: int, min_change: float = 0.0, metric: EvalMetric | None = None
    ) -> None:
        super().__init__()
        if patience < 1:
            raise ValueError(f"patience = {patience} is not a number of epochs >= 1")
        self.patience = patience
        self.min_change = min_change
        self.metric = metric
        self.best = math.inf
        self.n_waited = 0
        self.stopped = False

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self.best, self.n_waited, self.stopped = math.inf, 0, False

    def on_epoch_end(self) -> None:
        """Judge the epoch."""
        if not self.watching or self.fit_params.skip_opt_step:
            return
        value = self.judge(self.metric)
        if value < self.best - self.min_change:
            self.best, self.n_waited = value, 0
        else:
            self.n_waited += 1
        if self.n_waited >= self.patience:
            self.stopped = True
        if self.stopped:
            self.fit_params.stop = True


class BestKeeper(LossWatcher):
    """Keeps the parameters of the best epoch, the initial ones included, and gives them back.

    The validation loss of an epoch belongs to the parameters at its end. Without validation, the
    training loss belongs to those at its beginning, before the updates. Edge widths of sigmoid
    panels are no parameters and stay as they are. Stands after callbacks that replace the loss.

    Args:
        restore: give the best parameters back to the volume at the end of the fit.
        metric: judge by this metric, which stands earlier in the list; None: by the loss.
    """

    remembers: ClassVar[tuple[str, ...]] = (
        *LossWatcher.remembers,
        "best",
        "best_epoch",
        "parameters",
        "before",
    )

    def __init__(self, *, restore: bool = True, metric: EvalMetric | None = None) -> None:
        super().__init__()
        self.restore_at_end = restore
        self.metric = metric
        self.best = math.inf
        self.best_epoch = 0
        self.parameters: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self.best, self.best_epoch, self.parameters = math.inf, 0, {}

    def on_epoch_begin(self) -> None:
        """Note the parameters that the training loss will belong to."""
        super().on_epoch_begin()
        if self.watching and self.fit_params.state == "train":
            self.before = self._present()

    def on_epoch_end(self) -> None:
        """Keep the parameters if they are the best so far."""
        if not self.watching:
            return
        value = self.judge(self.metric)
        if value < self.best:
            training = self.fit_params.state == "train"
            self.best, self.best_epoch = value, self.fit_params.epoch
            self.parameters = self.before if training else self._present()

    def on_train_end(self) -> None:
        """Give the best parameters back."""
        if self.restore_at_end:
            self.restore()

    def _present(self) -> dict[str, Tensor]:
        named = self.attached.volume.named_parameters()
        return {name: parameter.detach().clone() for name, parameter in named}

    @torch.no_grad()
    def restore(self) -> None:
        """Give the best parameters back to the volume; nothing if no epoch had a finite loss."""
        volume = self.attached.volume
        for name, parameter in volume.named_parameters():
            if name in self.parameters:
                parameter.copy_(self.parameters[name])
        if self.parameters:
            volume.assign_budget()


class DivergenceGuard(Callback):
    """Keeps updates with a useless loss away from the detector, and ends a fit that has got lost.

    An update is bad if no volume gave a prediction, if the loss is not finite (no step is taken
    then), or if it lies too far above the smallest one so far. Stands after callbacks that replace
    the loss.

    Args:
        factor: multiple of the smallest loss above which an update is bad; > 1. Says nothing where
            the smallest loss is not positive.
        patience: bad updates in a row after which the fit stops; >= 1.
        max_rise: distance from the smallest loss above which an update is bad, in the unit of the
            loss (for losses on a logarithmic scale); None: no such limit.
    """

    remembers: ClassVar[tuple[str, ...]] = ("best", "n_bad", "reason")

    def __init__(
        self, factor: float = 100.0, patience: int = 3, max_rise: float | None = None
    ) -> None:
        if not factor > 1:
            raise ValueError(f"factor = {factor} is not larger than 1")
        if patience < 1:
            raise ValueError(f"patience = {patience} is not a number of updates >= 1")
        self.factor = factor
        self.patience = patience
        self.max_rise = math.inf if max_rise is None else max_rise
        self.best = math.inf
        self.n_bad = 0
        self.reason: str | None = None

    def on_train_begin(self) -> None:
        """Start anew."""
        super().on_train_begin()
        self.best, self.n_bad, self.reason = math.inf, 0, None

    def on_volume_batch_end(self) -> None:
        """Judge the loss that the update would follow."""
        fit = self.fit_params
        if fit.state != "train":
            return
        value = math.nan if fit.mean_loss is None else float(fit.mean_loss.detach().sum())
        bad = not math.isfinite(value) or value > self._limit()
        self.n_bad = self.n_bad + 1 if bad else 0
        if not bad:
            self.best = min(self.best, value)
        elif self.n_bad >= self.patience and self.reason is None:
            self.reason = self._explain(fit.epoch, value, given=fit.mean_loss is not None)
        if not math.isfinite(value) or self.reason is not None:
            fit.mean_loss = None
        fit.stop = fit.stop or self.reason is not None

    def _limit(self) -> float:
        scaled = self.factor * self.best if self.best > 0 else math.inf
        return min(scaled, self.best + self.max_rise)

    def _explain(self, epoch: int, value: float, *, given: bool) -> str:
        what = f"the loss is {value:.3g}" if given else "no volume gave a prediction"
        return (
            f"stopped in epoch {epoch}: {what} (smallest so far {self.best:.3g}) after "
            f"{self.n_bad} bad updates in a row; lower the learning rates or limit the steps"
        )
