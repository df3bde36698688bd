import math
import sys

import pytest
import torch
from PIL import Image

from tests.unit.callbacks.toy import Layer, Loss, Panel, Volume, Wrapper, fit
from tomopt_tasks.callbacks.metrics import EvalMetric
from tomopt_tasks.callbacks.monitors import MetricLogger, PanelMetricLogger


class Numbers(EvalMetric):
    """The next number at the end of each validation epoch."""

    def __init__(self, *numbers, lower=True, **options):
        super().__init__(lower, **options)
        self.numbers = numbers

    def on_epoch_end(self):
        if self.fit_params.state == "valid":
            self.metric = self.numbers[self.fit_params.epoch - 1]


def test_metric_is_named_after_its_class():
    assert Numbers().name == "Numbers"
    assert Numbers(name="precision").name == "precision"


def test_first_main_metric_of_the_list_is_the_only_one(tmp_path):
    side, first, second = Numbers(*"1", main_metric=False), Numbers(1.0), Numbers(2.0, name="b")
    fit([side, first, second], tmp_path, n_epochs=1)
    assert [m.main_metric for m in (side, first, second)] == [False, True, False]


def test_losses_are_kept_for_each_update_and_each_validation_epoch(tmp_path):
    lines = []
    logger = MetricLogger(report=lines.append)
    wrapper = Wrapper(lr=0.0)
    three = (1.0, 2.0, 3.0)
    fit([logger], tmp_path, n_epochs=2, targets=three, valid=(1.0,), bs=2, wrapper=wrapper)
    losses, metrics = logger.get_loss_history()
    assert [len(losses["Training"]), len(losses["Validation"])] == [4, 2]
    assert losses["Training"] == pytest.approx([losses["Validation"][0]] * 4)
    assert metrics == {}
    assert len(lines) == 2
    assert lines[0].startswith("Epoch 1 | training = ")
    assert "validation" in lines[0]


def test_without_validation_the_training_loss_is_reported(tmp_path):
    lines = []
    logger = MetricLogger(report=lines.append)
    fit([logger], tmp_path, n_epochs=2)
    assert len(lines) == 2
    assert "validation" not in lines[0]
    losses = logger.get_loss_history()[0]["Training"]
    assert logger.get_results(loaded_best=False) == {"loss": pytest.approx(sum(losses[2:]) / 2)}
    assert set(logger.sub_losses) == {"error", "cost"}


def test_results_before_any_epoch_are_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="no epoch has ended"):
        MetricLogger().get_results(loaded_best=True)


def test_d11_epochs_without_any_loss_do_not_divide_by_zero(tmp_path):
    """D-11: loggers divided by the number of complete batches and by the loss, both zero."""
    logger = MetricLogger(report=lambda line: None)
    fit([logger], tmp_path, n_epochs=2, targets=(-1.0,), valid=(-1.0,))
    nothing = [math.inf] * 2
    assert logger.get_loss_history()[0] == {"Training": nothing, "Validation": nothing}


def test_d11_a_loss_of_zero_has_no_shares(tmp_path):
    """D-11: the shares of the terms were divided by the loss."""

    class Zero(Loss):
        def __call__(self, pred, volume):
            loss = 0 * super().__call__(pred, volume)
            self.sub_losses = {"error": loss}
            return loss

    logger = MetricLogger(report=lambda line: None)
    fit([logger], tmp_path, n_epochs=1, valid=(1.0,), wrapper=Wrapper(loss=Zero()))
    assert logger.sub_losses == {"error": [0.0]}


def test_short_last_batch_weighs_less_in_the_validation_loss(tmp_path):
    class ByTarget(Loss):
        def __call__(self, pred, volume):
            return super().__call__(pred, volume) * 0 + volume.target

    logger = MetricLogger(report=lambda line: None)
    wrapper = Wrapper(loss=ByTarget())
    fit([logger], tmp_path, n_epochs=1, valid=(1.0, 2.0, 6.0), bs=2, wrapper=wrapper)
    assert logger.get_loss_history()[0]["Validation"] == pytest.approx([3.0])  # not (1.5 + 6) / 2


def test_shares_of_the_loss_add_up_to_one_also_with_skipped_volumes(tmp_path):
    logger = MetricLogger(report=lambda line: None)
    wrapper = Wrapper(loss=Loss(cost=2.0))
    fit([logger], tmp_path, n_epochs=2, valid=(1.0, -1.0, 3.0), bs=1, wrapper=wrapper)
    for error, cost in zip(logger.sub_losses["error"], logger.sub_losses["cost"], strict=True):
        assert error + cost == pytest.approx(1.0)
        assert 0 < cost < 1


@pytest.mark.parametrize(("lower", "best"), [(True, 1), (False, 2)])
def test_best_epoch_is_that_of_the_main_metric(tmp_path, lower, best):
    numbers = (5.0, 3.0, 7.0)
    logger = MetricLogger(report=lambda line: None)
    metric = Numbers(*numbers, lower=lower)
    fit([metric, logger], tmp_path, n_epochs=3, valid=(1.0,))
    results = logger.get_results(loaded_best=True)
    assert results["Numbers"] == numbers[best]
    assert results["loss"] == logger.loss_vals["Validation"][best]
    assert logger.get_results(loaded_best=False)["Numbers"] == 7.0
    assert logger.val_epoch_results == (logger.loss_vals["Validation"][2], 7.0 if lower else -7.0)


def test_without_a_main_metric_the_loss_decides(tmp_path):
    logger = MetricLogger(report=lambda line: None)
    metric = Numbers(1.0, 2.0, 3.0, main_metric=False)
    fit([metric, logger], tmp_path, n_epochs=3, valid=(1.0,))
    losses = logger.loss_vals["Validation"]
    assert logger.get_results(loaded_best=True)["loss"] == min(losses) == logger.best_loss
    assert not logger.lock_to_metric


def test_a_metric_that_was_never_set_is_a_gap(tmp_path):
    logger = MetricLogger(report=lambda line: None)
    fit([EvalMetric(True, "empty"), logger], tmp_path, n_epochs=1, valid=(1.0,))
    assert math.isnan(logger.metric_vals["empty"][0])


@pytest.mark.parametrize("kind", [MetricLogger, PanelMetricLogger])
@pytest.mark.parametrize("n_metrics", [0, 2])
def test_d47_figures_and_film_work_without_a_display_with_and_without_metrics(
    tmp_path, monkeypatch, kind, n_metrics
):
    """D-47: IndexError with a metric, NameError outside notebooks, leftover pictures."""
    monkeypatch.setitem(sys.modules, "IPython", None)  # an import of it fails
    metrics = [Numbers(1.0, name=f"m{k}") for k in range(n_metrics)]
    logger = kind(gif_filename="film.gif", gif_length=1.0, show_plots=True)
    fit([*metrics, logger], tmp_path, n_epochs=1, valid=(1.0,))
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]
    with Image.open(tmp_path / "film.gif") as film:
        assert film.n_frames == 2
        assert film.info["duration"] == 500  # D-49: milliseconds
    views = 7 if kind is PanelMetricLogger else 0  # three a side, and the response
    assert len(logger.plot().axes) == 2 + bool(n_metrics) + views


def test_d47_more_than_ten_panels_and_heat_maps_can_be_drawn(tmp_path):
    """D-47: IndexError with more than ten panels, AttributeError with heat maps."""

    class HeatMap(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.xy_fix = torch.tensor([0.5, 0.5])
            self.delta_xy = 1.0
            self.xy, self.z = None, torch.nn.Parameter(torch.ones(1).double())

    volume = Volume([Layer("above", [Panel(z=1 + k / 9) for k in range(12)])])
    logger = PanelMetricLogger(gif_filename=None, show_plots=True)
    fit([logger], tmp_path, n_epochs=1, wrapper=Wrapper(volume))
    assert len(logger.plot().axes) == 2 + 4
    logger.attached.volume.layers[0].panels = torch.nn.ModuleList([HeatMap()])
    assert len(logger.plot().axes) == 2 + 3


def test_logger_is_silent_about_figures_outside_a_notebook():
    assert MetricLogger().show_plots is False


def test_film_covers_the_whole_fit_after_a_resume(tmp_path):
    first = PanelMetricLogger(gif_filename=None, report=lambda line: None)
    fit([first], tmp_path, n_epochs=3, valid=(1.0,))
    second = PanelMetricLogger()
    second.load_state_dict(first.state_dict())
    assert [moment["training"] for moment in second.moments] == [0, 2, 4]
    spans = [moment["panels"][0]["span"] for moment in second.moments]
    assert spans == [[1.0, 1.0], [0.9, 0.9], [0.9, 0.9]]


class Notebook:
    """A module IPython as a notebook has it; notes what is shown."""

    def __init__(self):
        self.shown = []
        shell = type("ZMQInteractiveShell", (), {})()
        self.get_ipython = lambda: shell

    def display(self, figure, *, display_id):
        assert display_id
        self.shown.append(("new", figure))
        return self

    def update(self, figure):
        self.shown.append(("update", figure))


def test_in_a_notebook_one_figure_is_shown_and_then_replaced(tmp_path, monkeypatch):
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    lines = []
    logger = MetricLogger(gif_filename=None, report=lines.append)
    assert logger.show_plots is True
    fit([logger], tmp_path, n_epochs=3, valid=(1.0,))
    assert [how for how, _ in notebook.shown] == ["new", "update", "update"]
    assert [len(figure.axes[0].lines[1].get_xdata()) for _, figure in notebook.shown] == [1, 2, 3]
    assert lines == []
    assert list(tmp_path.iterdir()) == []
