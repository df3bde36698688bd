import pytest
import torch

from tests.unit.callbacks.toy import Layer, Panel, Volume, Wrapper, fit
from tomopt_tasks.callbacks.base import Callback, detector_panels
from tomopt_tasks.callbacks.detector import PanelCentring, PanelUpdateLimiter, TieGradients


class Steps(Callback):
    """How far each step moved the parameters; stands before or after a guard."""

    def __init__(self, name):
        self.name = name
        self.changes = []

    def _values(self):
        panels = detector_panels(self.attached.get_detectors())
        return torch.stack([getattr(panel, self.name).detach().clone() for panel in panels])

    def on_backwards_begin(self):
        self.before = self._values()

    def on_step_end(self):
        self.changes.append(self._values() - self.before)


def test_limiter_clips_each_component_and_leaves_small_steps_exactly_alone(tmp_path):
    free = Steps("z")
    fit([free], tmp_path, n_epochs=1, targets=(1.0,), wrapper=Wrapper(lr=0.01))
    limited = Steps("z")
    cbs = [PanelUpdateLimiter(max_z_step=0.02), limited]
    fit(cbs, tmp_path, n_epochs=1, targets=(1.0,), wrapper=Wrapper(lr=0.01))
    large, small = free.changes[0].abs() > 0.02, free.changes[0].abs() <= 0.02
    assert large.any()
    assert small.any()
    clipped = limited.changes[0][large].abs()
    torch.testing.assert_close(clipped, torch.full_like(clipped, 0.02))
    assert torch.equal(limited.changes[0][small], free.changes[0][small])


def test_limiter_takes_one_number_or_one_per_axis(tmp_path):
    limited = Steps("xy")
    cbs = [PanelUpdateLimiter(max_xy_step=(1e-4, 1e-5)), limited]
    fit(cbs, tmp_path, n_epochs=1, targets=(1.0,), wrapper=Wrapper(lr=1.0))
    largest = limited.changes[0].abs().amax(0)
    torch.testing.assert_close(largest, torch.tensor([1e-4, 1e-5], dtype=torch.float64))


def test_d32_centred_panels_keep_storages_of_their_own(tmp_path):
    """D-32: all panels shared one storage, so that later steps counted once for each of them."""
    volume = Volume([Layer("above", [Panel(x=x) for x in (0.1, 0.3, 0.5, 0.7)])])
    wrapper = fit([PanelCentring()], tmp_path, n_epochs=1, wrapper=Wrapper(volume, lr=0.0))
    panels = wrapper.volume.layers[0].panels
    assert len({panel.xy.data_ptr() for panel in panels}) == 4
    for panel in panels:
        torch.testing.assert_close(panel.xy.detach(), torch.tensor([0.4, 0.5]).double())
    before = panels[0].xy.detach().clone()
    for panel in panels:
        panel.xy.grad = torch.ones(2, dtype=torch.float64)
    torch.optim.SGD([panel.xy for panel in panels], lr=0.01).step()
    torch.testing.assert_close(panels[0].xy.detach(), before - 0.01)  # not - 0.04


def test_centring_treats_each_layer_by_itself(tmp_path):
    wrapper = fit([PanelCentring()], tmp_path, n_epochs=1, wrapper=Wrapper(lr=0.0))
    above, below = wrapper.volume.layers
    assert float(above.panels[0].xy[0].detach()) == pytest.approx(0.3)
    assert float(below.panels[0].xy[0].detach()) == 0.5


def test_centring_of_heat_maps_is_refused(tmp_path):
    wrapper = Wrapper()
    wrapper.volume.layers[0].type_label = "heatmap"
    with pytest.raises(NotImplementedError, match="heatmap"):
        fit([PanelCentring()], tmp_path, wrapper=wrapper)


def test_tied_panels_that_start_together_stay_together(tmp_path):
    wrapper = Wrapper(Volume([Layer("above", [Panel(x=0.2), Panel(x=0.2, z=0.5), Panel(x=0.6)])]))
    wrapper.volume.layers[0].panels[0].xy.register_hook(lambda grad: 3 * grad)
    fit([TieGradients("xy", [[0, 1]])], tmp_path, wrapper=wrapper)
    first, second, third = (p.xy.detach() for p in wrapper.volume.layers[0].panels)
    assert torch.equal(first, second)
    assert float(first[0]) != 0.2
    assert float(third[0]) not in (0.6, float(first[0]))


def test_mirrored_panels_move_in_opposite_directions(tmp_path):
    wrapper = Wrapper(Volume([Layer("above", [Panel(z=1.0)]), Layer("below", [Panel(z=0.2)])]))
    fit([TieGradients("z", [[0, 1]], "mirror")], tmp_path, n_epochs=1, wrapper=wrapper)
    above, below = (layer.panels[0].z.detach() for layer in wrapper.volume.layers)
    torch.testing.assert_close(above - 1.0, -(below - 0.2))
    assert float(above) < 1.0


def test_ties_without_any_gradient_do_nothing(tmp_path):
    wrapper = fit([TieGradients("z", [[0, 1]])], tmp_path, n_epochs=1, targets=(-1.0,))
    assert float(wrapper.volume.layers[0].panels[0].z.detach()) == 1.0
