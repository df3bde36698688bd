from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
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
from tomopt_tasks.inference.classifiers import (
    AbsIntClassifierFromX0,
    DenseBlockClassifierFromX0s,
    mean_3d,
)


@dataclass
class FixedMaps:
    """An inferrer of radiation lengths that says what it is told."""

    volume: object
    maps: list
    seen: list = field(default_factory=list)

    @property
    def n_volumes(self):
        return len(self.maps)

    def add_scatters(self, scatters):
        self.seen.append(scatters)

    def compute_efficiency(self, scatters):
        return scatters.accepted

    def _reset_vars(self):
        self.seen.clear()

    def get_predictions(self):
        return self.maps

    def get_prediction(self):
        return self.maps[0]


def fixed(*maps):
    return partial(FixedMaps, maps=list(maps))


def block_map(n_block=12):
    x0 = torch.full((600,), 0.4, dtype=F64)
    x0[:n_block] = 0.006
    return x0.view(6, 10, 10)


def test_d09_the_cut_lies_at_the_fraction_of_voxels():
    # the seed's system divides by three times as many: the 5th smallest instead of the 13th
    inferrer = DenseBlockClassifierFromX0s(12, fixed(block_map()), FakeVolume(), use_avgpool=False)
    assert inferrer.frac == pytest.approx(12 / 600)
    ramp = torch.arange(600, dtype=F64).view(6, 10, 10)
    sharp = DenseBlockClassifierFromX0s(
        12, fixed(ramp), FakeVolume(), use_avgpool=False, cut_coef=1e3, ratio_offset=0.0
    )
    # 13th smallest = 12: half of it counts on each side, 0..11 are block
    low, high = (66 + 6) / 12.5, (sum(range(13, 600)) + 6) / 587.5
    ratio = 2 * (high - low) / (high + low)
    assert_close(sharp.get_prediction(), torch.sigmoid(torch.tensor([[ratio]], dtype=F64)))


def test_a_dense_block_scores_higher_than_a_uniform_volume():
    flat = torch.full((6, 10, 10), 0.4, dtype=F64)
    flat = flat + 1e-3 * torch.linspace(0, 1, 600, dtype=F64).view(6, 10, 10)
    scan = DenseBlockClassifierFromX0s(12, fixed(block_map(), flat, None), FakeVolume())
    block, none, empty = scan.get_predictions()
    assert block.shape == (1, 1)
    assert block > none
    assert empty is None


@pytest.mark.parametrize("count", [0.012, 0, 600, 2.5])
def test_d09_a_volume_instead_of_a_count_of_voxels_is_refused(count):
    with pytest.raises(ValueError, match="count of voxels"):
        DenseBlockClassifierFromX0s(count, fixed(block_map()), FakeVolume())


def test_d10_no_map_gives_no_class():
    inferrer = DenseBlockClassifierFromX0s(12, fixed(None), FakeVolume())
    assert inferrer.get_prediction() is None


def test_gradients_reach_the_map():
    x0 = block_map().requires_grad_()
    inferrer = DenseBlockClassifierFromX0s(12, fixed(x0), FakeVolume(), cut_coef=10.0)
    (slope,) = torch.autograd.grad(inferrer.get_prediction().sum(), x0)
    assert torch.isfinite(slope).all()
    assert (slope != 0).any()


def test_scatters_go_to_the_inner_inferrer():
    inferrer = DenseBlockClassifierFromX0s(12, fixed(block_map()), FakeVolume())
    batch = irradiate(
        kinked_muons(5, FakeVolume()), FakeVolume(), panel_stack(ABOVE), panel_stack(BELOW)
    )
    inferrer.add_scatters(batch)
    assert inferrer.x0_inferrer.seen == [batch]
    assert_close(inferrer.compute_efficiency(batch), batch.accepted)
    inferrer._reset_vars()
    assert inferrer.x0_inferrer.seen == []


def test_the_mean_over_neighbours_leaves_out_what_lies_outside():
    x0 = torch.zeros(3, 3, 3, dtype=F64)
    x0[0, 0, 0] = 8.0
    assert mean_3d(x0)[0, 0, 0] == pytest.approx(1.0)
    assert mean_3d(x0)[1, 1, 1] == pytest.approx(8 / 27)


class Lightest(AbsIntClassifierFromX0):
    """Probabilities from the mean of each layer."""

    def x02probs(self, vox_preds):
        return torch.softmax(vox_preds.mean((1, 2)), 0)


def test_the_integer_classifier_gives_probabilities_a_class_or_a_number():
    x0 = torch.zeros(3, 2, 2, dtype=F64)
    x0[1] = 5.0
    volume = FakeVolume(n_layers=3)
    assert_close(Lightest(fixed(x0), volume).get_prediction().sum(), torch.tensor(1.0, dtype=F64))
    assert Lightest(fixed(x0), volume, output_probs=False).get_prediction() == 1
    named = Lightest(
        fixed(x0, None), volume, output_probs=False, class2float=lambda c, v: c * v.passive_size
    )
    first, second = named.get_predictions()
    assert float(first) == pytest.approx(0.1)
    assert second is None
