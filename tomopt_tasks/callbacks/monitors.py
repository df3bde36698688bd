"""Loggers that follow losses, metrics and the detector along a fit (spec 9.11)."""

import math
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from tomopt_tasks.callbacks.epoch_loss import LossWatcher
from tomopt_tasks.callbacks.history import Box, History, PanelView, panel_views, passive_box
from tomopt_tasks.callbacks.metrics import EvalMetric
from tomopt_tasks.callbacks.optional import drawing, in_notebook

__all__ = ["EvalMetric", "MetricLogger", "PanelMetricLogger"]


class MetricLogger(LossWatcher):
    """Reports losses and metrics of every epoch, as a line or as a figure; works headless.

    Without validation volumes the training loss takes the place of the validation loss. Stands
    after callbacks that replace the loss, and after metrics.

    Args:
        gif_filename: name in ``cb_savepath`` of a film of the fit, made at its end if
            ``show_plots``; None: no film.
        gif_length: duration of the film [s].
        show_plots: draw instead of writing lines; None: only in a notebook.
        report: receives the lines.
    """

    remembers: ClassVar[tuple[str, ...]] = (
        *LossWatcher.remembers,
        "terms",
        "loss_vals",
        "sub_losses",
        "metric_vals",
        "best_loss",
        "val_epoch_results",
        "n_trn_batches",
        "main_metric_idx",
        "lock_to_metric",
        "moments",
    )

    def __init__(
        self,
        gif_filename: str | None = "optimisation_history.gif",
        gif_length: float = 10.0,
        show_plots: bool | None = None,  # noqa: FBT001
        report: Callable[[str], object] = print,
    ) -> None:
        super().__init__()
        self.gif_filename = gif_filename
        self.gif_length = gif_length
        self.show_plots = in_notebook() if show_plots is None else show_plots
        self.report = report
        self._display: Any = None
        self._reset()

    def _reset(self) -> None:
        self.loss_vals: dict[str, list[float]] = {"Training": [], "Validation": []}
        self.sub_losses: dict[str, list[float]] = {}
        self.metric_vals: dict[str, list[float]] = {}
        self.best_loss = math.inf
        self.val_epoch_results: tuple[float, float | None] | None = None
        self.n_trn_batches = 1
        self.main_metric_idx: int | None = None
        self.lock_to_metric = False
        self.moments: list[dict[str, Any]] = []
        self.terms: dict[str, float] = {}

    @property
    def _metrics(self) -> list[EvalMetric]:
        return [m for m in self.fit_params.metric_cbs or [] if isinstance(m, EvalMetric)]

    def on_train_begin(self) -> None:
        """Start a new history."""
        super().on_train_begin()
        self._reset()
        fit = self.fit_params
        self.n_trn_batches = max(1, math.ceil(len(fit.trn_passives) / (fit.passive_bs or 1)))
        self.metric_vals = {metric.name: [] for metric in self._metrics}
        main = [index for index, metric in enumerate(self._metrics) if metric.main_metric]
        self.lock_to_metric = bool(main)
        if self._metrics:
            self.main_metric_idx = main[0] if main else 0

    def on_epoch_begin(self) -> None:
        """Start an epoch; note the moment as a picture of the film."""
        super().on_epoch_begin()
        self.terms = {}
        if self.fit_params.state == "train":
            self.moments.append(self._moment())

    def _moment(self) -> dict[str, Any]:
        return {"training": len(self.loss_vals["Training"]), "epochs": self._n_epochs}

    @property
    def _n_epochs(self) -> int:
        rows = (*self.sub_losses.values(), *self.metric_vals.values())
        return max(map(len, (self.loss_vals["Validation"], *rows)))

    def on_backwards_end(self) -> None:
        """Note the loss of the update; infinite if there was none."""
        loss = self.fit_params.mean_loss
        value = math.inf if loss is None else float(loss.detach().sum())
        self.loss_vals["Training"].append(value)

    def on_volume_end(self) -> None:
        """Add the terms of the loss of the volume."""
        super().on_volume_end()
        if not self.watching or self.fit_params.pred is None:
            return
        for name, term in getattr(self.attached.loss_func, "sub_losses", {}).items():
            self.terms[name] = self.terms.get(name, 0.0) + float(term.detach().sum())

    def on_epoch_end(self) -> None:
        """Close the epoch and report it."""
        if not self.watching:
            return
        loss = self.epoch_loss
        if self.fit_params.state == "valid":
            self.loss_vals["Validation"].append(loss)
        total = sum(self.terms.values())
        for name, term in self.terms.items():
            self.sub_losses.setdefault(name, []).append(term / total if total else 0.0)
        for metric in self._metrics:
            value = metric.get_metric()
            self.metric_vals[metric.name].append(math.nan if value is None else float(value))
        self.best_loss = min(self.best_loss, loss)
        self.val_epoch_results = (loss, self._main_value())
        self._report_epoch(loss)

    def _main_value(self) -> float | None:
        """The main metric, turned so that smaller is better."""
        if self.main_metric_idx is None:
            return None
        metric = self._metrics[self.main_metric_idx]
        value = self.metric_vals[metric.name][-1]
        return value if metric.lower_metric_better else -value

    def _report_epoch(self, loss: float) -> None:
        if self.show_plots:
            self._show(self.plot())
            return
        last = self.loss_vals["Training"][-self.n_trn_batches :]
        training = sum(last) / len(last) if last else math.nan
        parts = [f"Epoch {self.fit_params.epoch}", f"training = {training:.2E}"]
        if self.fit_params.state == "valid":
            parts.append(f"validation = {loss:.2E}")
        parts += [f"{name} = {values[-1]:.2E}" for name, values in self.metric_vals.items()]
        self.report(" | ".join(parts))

    def _show(self, figure: Any) -> None:
        """Put the figure in the place of the one before, where there is a notebook."""
        if not in_notebook():
            return
        from IPython.display import display  # noqa: PLC0415 - only there in a notebook

        if self._display is None:
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)

    def on_train_end(self) -> None:
        """Make the film."""
        self._display = None
        if not (self.show_plots and self.gif_filename and self.fit_params.cb_savepath):
            return
        draw = drawing("history").plot_optimisation_history
        pictures: Iterator[Any] = (draw(self._history_at(moment)) for moment in self._all_moments())
        path = self.fit_params.cb_savepath / self.gif_filename
        drawing("figures").save_gif(pictures, path, self.gif_length)

    def _all_moments(self) -> list[dict[str, Any]]:
        return [*self.moments, self._moment()]

    def _history_at(self, moment: dict[str, Any]) -> History:
        return self.history().until(moment["training"], moment["epochs"])

    def history(self) -> History:
        """Everything so far, for :func:`tomopt_tasks.plotting.plot_optimisation_history`."""
        lower = (
            {} if self.wrapper is None else {m.name: m.lower_metric_better for m in self._metrics}
        )
        return History(
            training=self.loss_vals["Training"],
            validation=self.loss_vals["Validation"],
            sub_losses=self.sub_losses,
            metrics=self.metric_vals,
            lower_is_better=lower,
            batches_per_epoch=self.n_trn_batches,
        )

    def plot(self) -> Any:
        """The history so far as a figure."""
        return drawing("history").plot_optimisation_history(self._history_at(self._moment()))

    def get_loss_history(self) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
        """Losses (training: one an update, validation: one an epoch) and metrics by name."""
        losses = {name: list(values) for name, values in self.loss_vals.items()}
        return losses, {name: list(values) for name, values in self.metric_vals.items()}

    def get_results(self, loaded_best: bool) -> dict[str, float]:  # noqa: FBT001
        """Loss and metrics of one epoch.

        Args:
            loaded_best: of the best epoch, by the main metric if there is one, else by the loss;
                otherwise of the last epoch.

        Raises:
            ValueError: no epoch has ended.
        """
        losses = self.loss_vals["Validation"] or self.history().epoch_means
        if not losses:
            raise ValueError("no epoch has ended yet, so that there are no results; call fit first")
        index = self._best_index(losses) if loaded_best else len(losses) - 1
        return {"loss": losses[index], **{n: v[index] for n, v in self.metric_vals.items()}}

    def _best_index(self, losses: list[float]) -> int:
        values, sign = losses, 1.0
        if self.lock_to_metric and self.main_metric_idx is not None:
            metric = self._metrics[self.main_metric_idx]
            values, sign = (
                self.metric_vals[metric.name],
                1.0 if metric.lower_metric_better else -1.0,
            )
        known = [math.inf if math.isnan(value) else sign * value for value in values]
        return min(range(len(known)), key=known.__getitem__)


class PanelMetricLogger(MetricLogger):
    """A metric logger whose figures also show the panels as they move; the arguments are equal."""

    def _moment(self) -> dict[str, Any]:
        return {**super()._moment(), "panels": self._panels()}

    def _panels(self) -> list[PanelView]:
        return panel_views(self.attached.get_detectors())

    def _history_at(self, moment: dict[str, Any]) -> History:
        return self.history().until(moment["training"], moment["epochs"], moment["panels"])

    def history(self) -> History:
        """Everything so far, with the detector as it is now."""
        found = super().history()
        box: Box = passive_box(self.attached.volume)
        return History(**{**vars(found), "panels": self._panels(), "box": box})
