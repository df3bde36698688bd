"""Base of figures of merit that are followed along a fit (spec 9.11)."""

from typing import ClassVar

from tomopt_tasks.callbacks.base import Callback


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
