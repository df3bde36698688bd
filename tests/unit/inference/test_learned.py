from functools import partial

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.unit.inference.fakes import (
    ABOVE,
    BELOW,
    F64,
    FakeVolume,
    irradiate,
    kinked_muons,
    panel_stack,
)
from tomopt_tasks.inference.learned import (
    FEATURES,
    MODEL,
    DeepVolumeInferrer,
    VolumeNet,
    attach_model,
)

SMALL = FakeVolume(lw=torch.tensor([0.3, 0.3], dtype=F64), n_layers=3)


def predict(model, state, features=("total_scatter", "poca"), **panels):
    inferrer = DeepVolumeInferrer(SMALL, model, features=features)
    above, below = panel_stack(ABOVE, **panels), panel_stack(BELOW, **panels)
    inferrer.add_scatters(irradiate(state, SMALL, above, below))
    return inferrer.get_predictions()


def net(**kwargs):
    return VolumeNet(features=("total_scatter", "poca"), width=4, **kwargs).double()


def shaken(model):
    """The model with a last layer that is not zero."""
    with torch.no_grad():
        model.head[2].weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(3))
    return model


@pytest.mark.parametrize("name", FEATURES)
def test_every_group_of_features_has_its_width_and_is_of_order_one(name):
    width, _ = FEATURES[name]
    state = kinked_muons(200, SMALL)
    inferrer = DeepVolumeInferrer(SMALL, net(), features=[name])
    inferrer.add_scatters(irradiate(state, SMALL, panel_stack(ABOVE), panel_stack(BELOW)))
    rows = FEATURES[name][1](inferrer.x0_inferrer.measured, inferrer.x0_inferrer.grid)
    assert rows.shape == (200, width)
    assert rows.abs().median() < 5.0


def test_an_untrained_net_gives_its_start_or_the_map_itself():
    state = kinked_muons(50, SMALL, n_volumes=2)
    for found in predict(net(start=0.7), state):
        assert_close(found, torch.tensor([0.7], dtype=F64))
    inferrer = DeepVolumeInferrer(SMALL, net(output="voxels"), features=("total_scatter", "poca"))
    inferrer.add_scatters(irradiate(state, SMALL, panel_stack(ABOVE), panel_stack(BELOW)))
    for found, x0 in zip(
        inferrer.get_predictions(), inferrer.x0_inferrer.get_predictions(), strict=True
    ):
        assert_close(found, x0)


def test_the_order_of_the_muons_does_not_matter():
    state = kinked_muons(50, SMALL)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    model = shaken(net())
    first, second = predict(model, state, res=1e9), predict(model, state[:, order], res=1e9)
    assert_close(first[0], second[0], rtol=1e-4, atol=1e-6)


def test_volumes_without_muons_are_none_and_others_do_not_notice():
    state = kinked_muons(40, SMALL, n_volumes=2)
    state[0, :, [0, 4]] += 1e6
    model = shaken(net())
    empty, full = predict(model, state, res=1e9)
    assert empty is None
    (alone,) = predict(model, state[1:], res=1e9)
    assert_close(full, alone, rtol=1e-4, atol=1e-6)


def test_equal_seeds_give_equal_weights_and_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    first, second, other = VolumeNet(seed=1), VolumeNet(seed=1), VolumeNet(seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    for one, same in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, same)
    assert not torch.equal(first.from_map[0].weight, other.from_map[0].weight)


def test_gradients_reach_the_net_and_the_detector():
    model = shaken(net())
    above = panel_stack(ABOVE)
    above.z.requires_grad_()
    inferrer = DeepVolumeInferrer(SMALL, model, features=("total_scatter", "poca"))
    inferrer.add_scatters(irradiate(kinked_muons(50, SMALL), SMALL, above, panel_stack(BELOW)))
    inferrer.get_prediction().sum().backward()
    assert above.z.grad.abs().sum() > 0
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in model.parameters())


class Module(nn.Module):
    """A volume with one parameter and the geometry of the small one."""

    def __init__(self):
        super().__init__()
        self.z = nn.Parameter(torch.zeros(1, dtype=F64))

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == MODEL:
                raise
            return getattr(SMALL, name)


def test_an_attached_model_is_saved_loaded_and_counted_with_its_volume():
    volume = Module()
    attach_model(volume, shaken(net()))
    state = volume.state_dict()
    assert any(name.startswith(MODEL) for name in state)
    twin = Module()
    attach_model(twin, net(seed=5))
    twin.load_state_dict(state)
    rows = kinked_muons(30, SMALL)
    found = []
    for owner in (volume, twin):
        inferrer = DeepVolumeInferrer(owner, features=("total_scatter", "poca"))
        inferrer.add_scatters(irradiate(rows, SMALL, panel_stack(ABOVE), panel_stack(BELOW)))
        found.append(inferrer.get_prediction())
    assert torch.equal(*found)


def test_a_missing_model_and_an_unknown_feature_are_refused():
    with pytest.raises(ValueError, match="attach_model"):
        DeepVolumeInferrer(SMALL)
    with pytest.raises(ValueError, match="colour"):
        DeepVolumeInferrer(SMALL, net(), features=["colour"])


def test_a_users_own_model_sees_maps_muons_and_weights():
    def model(maps, muons, weight):
        assert maps.shape == (2, 1, 3, 3, 3)
        assert muons.shape == (2, 40, 4)
        assert weight.shape == (2, 40)
        return maps.mean((1, 2, 3, 4))

    found = predict(model, kinked_muons(40, SMALL, n_volumes=2))
    assert [x.shape for x in found] == [(), ()]


def test_it_is_a_partial_inferrer_like_the_others():
    make = partial(DeepVolumeInferrer, model=net(), features=("total_scatter", "poca"))
    assert make(volume=SMALL).get_prediction() is None
