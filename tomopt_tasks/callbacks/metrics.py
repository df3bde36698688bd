"""Figures of merit that are followed along a fit (spec 9.11)."""

from collections.abc import Iterable
from typing import ClassVar

import torch

from tomopt_tasks.callbacks.base import Callback, judged_epoch
from tomopt_tasks.losses.spread import calibrated_mse


class EvalMetric(Callback):
    """A number an epoch that tells how good the detector is; subclasses set ``metric``.

    A metric that is computed in ``on_epoch_end`` stands before the loggers in the list.

    Args:
        lower_metric_better: whether smaller is better.
        name: how it is called; None: the name of the class.
        main_metric: whether the best epoch is the best in this metric; of several, the first in
            the list of callbacks wins.
    """

    remembers: ClassVar[tuple[str, ...]] = ("metric", "main_metric")

    def __init__(
        self,
        lower_metric_better: bool,  # noqa: FBT001
        name: str | None = None,
        main_metric: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        self.lower_metric_better = lower_metric_better
        self.name = type(self).__name__ if name is None else name
        self.main_metric = main_metric
        self.metric: float | None = None

    def on_train_begin(self) -> None:
        """Forget the value; be the only main metric."""
        super().on_train_begin()
        self.metric = None
        if self.main_metric:
            for other in self.fit_params.metric_cbs or []:
                if isinstance(other, EvalMetric) and other is not self:
                    other.main_metric = False

    def get_metric(self) -> float | None:
        """The last value; None before the first."""
        return self.metric


def main_metric(callbacks: Iterable[Callback]) -> EvalMetric | None:
    """The metric that epochs are judged by: the first main one."""
    metrics = (each for each in callbacks if isinstance(each, EvalMetric))
    return next((metric for metric in metrics if metric.main_metric), None)


class CalibratedRMSE(EvalMetric):
    """Root mean squared error of the predictions of an epoch after the best straight line.

    In the unit of the target; of the validation volumes if there are any, else of the training
    volumes, each with the detector of its update. The line is fitted to these very predictions, so
    that few volumes look better than they are; None for fewer than three.

    Args:
        main_metric: whether the best epoch is the best in this metric.
    """

    remembers: ClassVar[tuple[str, ...]] = (*EvalMetric.remembers, "predictions", "targets")

    def __init__(self, *, main_metric: bool = True) -> None:
        super().__init__(lower_metric_better=True, name="calibrated_rmse", main_metric=main_metric)
        self.predictions: list[float] = []
        self.targets: list[float] = []

    def on_epoch_begin(self) -> None:
        """Start to collect."""
        self.predictions, self.targets = [], []

    def on_x0_pred_end(self) -> None:
        """Note the prediction and its target."""
        pred = self.fit_params.pred
        if pred is not None and judged_epoch(self.fit_params):
            self.predictions.append(float(pred.detach().reshape(-1)[0]))
            self.targets.append(float(torch.as_tensor(self.attached.volume.target).reshape(-1)[0]))

    def on_epoch_end(self) -> None:
        """Judge the epoch."""
        if judged_epoch(self.fit_params):
            columns = torch.tensor([self.predictions, self.targets], dtype=torch.float64)
            enough = columns.shape[1] >= 3
            self.metric = float(calibrated_mse(*columns).sqrt()) if enough else None
            self.predictions, self.targets = [], []
