"""Base of callbacks that judge an epoch by its loss."""

from typing import ClassVar

from tomopt_tasks.callbacks.base import Callback, judged_epoch
from tomopt_tasks.callbacks.metrics import EvalMetric


class LossWatcher(Callback):
    """Follows the mean loss of the validation volumes; of the training volumes if there are none.

    Stands after callbacks that replace the loss of a batch.
    """

    remembers: ClassVar[tuple[str, ...]] = ("total", "n_volumes")

    def __init__(self) -> None:
        self.total = 0.0
        self.n_volumes = 0
        self._in_batch = 0

    @property
    def watching(self) -> bool:
        """Whether the present epoch is the one to judge by."""
        return judged_epoch(self.fit_params)

    def on_epoch_begin(self) -> None:
        """Start to add."""
        self.total, self.n_volumes = 0.0, 0

    def on_volume_batch_begin(self) -> None:
        """Start to count the volumes of a batch."""
        self._in_batch = 0

    def on_volume_end(self) -> None:
        """Count the volume."""
        self._in_batch += 1

    def on_volume_batch_end(self) -> None:
        """Add the loss of the batch; infinite if no volume gave a prediction."""
        loss = self.fit_params.mean_loss
        value = float("inf") if loss is None else float(loss.detach().sum())
        self.total += value * self._in_batch
        self.n_volumes += self._in_batch

    @property
    def epoch_loss(self) -> float:
        """Mean over the volumes of the epoch; a short last batch weighs less; NaN if empty."""
        return self.total / self.n_volumes if self.n_volumes else float("nan")

    def judge(self, metric: EvalMetric | None) -> float:
        """What the epoch is worth, smaller is better: the loss, or a metric turned round.

        NaN where the value is unknown.
        """
        if metric is None:
            return self.epoch_loss
        value = metric.get_metric()
        if value is None:
            return float("nan")
        return value if metric.lower_metric_better else -value
