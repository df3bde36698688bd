import pytest
import torch

from tests.unit.callbacks.toy import Inferrer, Wrapper, fit, passives
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.ladle import (
    BatchLoss,
    LinearCorrectionCallback,
    SpreadRangeLoss,
    fit_line,
)


class Losses(Callback):
    """Losses of the batches, and the predictions that later callbacks see."""

    def __init__(self):
        self.losses, self.preds = [], []

    def on_x0_pred_end(self):
        pred = self.fit_params.pred
        self.preds.append((self.fit_params.state, None if pred is None else float(pred.detach())))

    def on_volume_batch_end(self):
        loss = self.fit_params.mean_loss
        self.losses.append(None if loss is None else float(loss.detach()))


class Scripted(Inferrer):
    """Gives the numbers in its list, one a volume, with a gradient."""

    numbers = ()

    def get_prediction(self):
        value, Scripted.numbers = Scripted.numbers[0], Scripted.numbers[1:]
        return None if value is None else value + 0 * super().get_prediction()


def scripted(numbers, lr=0.0):
    Scripted.numbers = tuple(numbers)
    wrapper = Wrapper(lr=lr)
    wrapper.partial_volume_inferrer = Scripted
    return wrapper


def test_spread_over_range_replaces_the_loss_in_training_and_validation(tmp_path):
    # targets 1: predictions 1, 3 (std sqrt 2, mean 2); targets 2: 5, 7 (sqrt 2, 6);
    # mean std sqrt 2, std of the means 2 sqrt 2: 1/2
    losses = Losses()
    wrapper = scripted([1.0, 5.0, 3.0, 7.0] * 2)
    four = (1.0, 2.0, 1.0, 2.0)
    cbs = [SpreadRangeLoss(), losses]
    fit(cbs, tmp_path, n_epochs=1, targets=four, valid=four, bs=4, wrapper=wrapper)
    assert losses.losses == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize(
    ("targets", "numbers"),
    [((1.0, 1.0), (1.0, 2.0)), ((1.0, 2.0), (1.0, 2.0)), ((1.0, 2.0), (None, None))],
)
def test_without_two_repeated_targets_there_is_no_loss_and_no_step(tmp_path, targets, numbers):
    losses = Losses()
    wrapper = scripted(numbers, lr=1.0)
    before = wrapper.volume.layers[0].panels[0].z.detach().clone()
    fit([SpreadRangeLoss(), losses], tmp_path, n_epochs=1, targets=targets, bs=2, wrapper=wrapper)
    assert losses.losses == [None]
    assert torch.equal(wrapper.volume.layers[0].panels[0].z.detach(), before)


def test_batch_loss_takes_any_objective_of_predictions_and_targets(tmp_path):
    losses = Losses()
    objective = BatchLoss(lambda predictions, targets: ((predictions - targets) ** 2).sum())
    wrapper = scripted([1.0, 5.0])
    fit([objective, losses], tmp_path, n_epochs=1, targets=(2.0, 3.0), bs=2, wrapper=wrapper)
    assert losses.losses == pytest.approx([1.0 + 4.0])


def test_line_of_least_squares_is_recovered():
    raw = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    assert fit_line(raw, 3 * raw - 1) == pytest.approx((3.0, -1.0))
    # y = 0, 1, 5: slope 5/2, intercept 2 - 5/2
    assert fit_line(raw, torch.tensor([0.0, 1.0, 5.0])) == pytest.approx((2.5, -0.5))
    assert fit_line(torch.ones(3), torch.tensor([0.0, 1.0, 5.0])) == pytest.approx((0.0, 2.0))


def test_predictions_are_corrected_by_the_line_of_the_batch_before(tmp_path):
    correction, losses = LinearCorrectionCallback(), Losses()
    wrapper = scripted([10.0, 20.0, 30.0, 40.0, 50.0])
    cbs = [correction, losses]
    fit(cbs, tmp_path, n_epochs=2, targets=(1.0, 2.0), bs=2, wrapper=wrapper)
    # first batch uncorrected; then y = x / 10; then refitted to (30, 1), (40, 2): x / 10 - 2
    assert [value for _, value in losses.preds] == pytest.approx([10.0, 20.0, 3.0, 4.0])
    assert (correction.weight, correction.bias) == pytest.approx((0.1, -2.0))
    preds = wrapper.predict(passives(1.0), 10, 5, cbs=[correction])
    assert preds[0][0] == pytest.approx([3.0])
    assert (correction.weight, correction.bias) == pytest.approx((0.1, -2.0))


def test_the_variance_of_a_prediction_is_corrected_with_it():
    wrapper = Wrapper()
    wrapper.begin([correction := LinearCorrectionCallback(None, -3.0, 1.0)], trn_passives=None)
    wrapper.fit_params.pred, wrapper.fit_params.pred_var = torch.tensor(2.0), torch.tensor(0.5)
    correction.on_x0_pred_end()
    assert float(wrapper.fit_params.pred) == -5.0
    assert float(wrapper.fit_params.pred_var) == 4.5


def test_correction_starts_with_the_given_line(tmp_path):
    losses = Losses()
    correction = LinearCorrectionCallback(None, init_weight=2.0, init_bias=1.0)
    fit([correction, losses], tmp_path, n_epochs=1, targets=(1.0,), wrapper=scripted([10.0]))
    assert losses.preds == [("train", 21.0)]
