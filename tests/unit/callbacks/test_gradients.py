import pytest
import torch

from tests.unit.callbacks.toy import Wrapper, fit
from tomopt_tasks.callbacks.gradients import NoMoreNaNs


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_d35_gradients_that_are_not_finite_become_zero_and_are_counted(tmp_path, value):
    """D-35: infinite gradients became 3.4e38."""
    wrapper = Wrapper(lr=1e-3)
    panel = wrapper.volume.layers[0].panels[0]
    panel.xy.register_hook(lambda grad: torch.stack([torch.full_like(grad[0], value), grad[1]]))
    guard = NoMoreNaNs()
    fit([guard], tmp_path, n_epochs=1, targets=(1.0,), wrapper=wrapper)
    assert panel.xy.grad[0] == 0.0
    assert panel.xy.grad[1] != 0.0
    assert float(panel.xy[0].detach()) == 0.5
    assert guard.n_zeroed == 1


def test_d35_missing_gradients_are_no_error(tmp_path):
    """D-35: parameters that the loss does not reach, and batches without a loss, crashed."""
    guard = NoMoreNaNs()
    wrapper = fit([guard], tmp_path, n_epochs=1, targets=(-1.0,))
    assert all(p.grad is None for p in wrapper.volume.parameters())
    fit([guard], tmp_path, n_epochs=1, targets=(1.0,), wrapper=wrapper)
    assert wrapper.volume.layers[0].panels[0].xy_span.grad is None
    assert guard.n_zeroed == 0
