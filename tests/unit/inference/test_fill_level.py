import math

import pytest
import torch
from scipy import stats
from torch.testing import assert_close

from tests.stats import SIGMAS
from tests.unit.inference.fakes import F64, FakeVolume, irradiate, kinked_muons, panel_stack
from tomopt_tasks.inference.fill_level import (
    central_weights,
    clip_between,
    expected_weight,
    fill_level,
    heights,
)
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.poca import Poca
from tomopt_tasks.inference.quantiles import quantile_per_row
from tomopt_tasks.rng import stream

HEIGHTS = (1.75, 1.65, 1.55, 1.45), (0.35, 0.25, 0.15, 0.05)


def values(*numbers):
    return torch.tensor(numbers, dtype=F64)


@pytest.mark.parametrize("smooth", [0.1, 1.0])
def test_central_weights_are_the_rescaled_edge_of_a_panel_as_wide_as_the_volume(smooth):
    found = central_weights(10, smooth)
    for k in range(10):
        distance = abs((k + 0.5) / 10 - 0.5) / 0.5
        edge = 1 / (1 + math.exp(-(1 - distance) / smooth)) * (1 + math.exp(-1 / smooth))
        assert float(found[k]) == pytest.approx(2 * (edge - 0.5))
    assert_close(found, found.flip(0))


def test_weights_fall_from_one_at_the_centre_to_the_walls():
    # smooth 1: 2 (0.6839397 - 0.5) = 0.3678794 at the wall itself (spec 5.8)
    found = central_weights(1001, 1.0)
    assert float(found[500]) == pytest.approx(1.0)
    assert float(found[0]) == pytest.approx(0.368, abs=2e-3)


def test_the_expected_weight_is_the_mean_over_the_position():
    weights = values(1.0, 5.0, 2.0)
    found = expected_weight(values(0.12, -1.0), values(0.05, 0.01), weights, 0.1)
    edges = stats.norm.cdf([0.0, 0.1, 0.2, 0.3], 0.12, 0.05 + 1e-7)
    expected = sum(w * p for w, p in zip((1, 5, 2), edges[1:] - edges[:-1], strict=True))
    assert float(found[0]) == pytest.approx(expected)
    assert float(found[1]) == pytest.approx(0.0, abs=1e-12)  # outside all cells


def test_d38_zero_uncertainty_picks_the_cell():
    found = expected_weight(values(0.15), values(0.0), values(1.0, 5.0, 2.0), 0.1)
    assert float(found) == pytest.approx(5.0)


def test_quantiles_are_of_the_rank_of_the_spec_among_those_that_count():
    # 0.84135 of six values: rank 1 + round(0.84135 * 5) = 5; the last two do not count
    row = values(3.0, 1.0, 2.0, 6.0, 5.0, 4.0, 99.0, -99.0)[None]
    mass = values(1, 1, 1, 1, 1, 1, 0, 0)[None]
    assert float(quantile_per_row(row, mass, 0.84135)) == 5.0
    assert float(quantile_per_row(row, mass, 0.15865)) == 2.0
    assert torch.isinf(quantile_per_row(row, torch.zeros_like(mass), 0.5))


def test_values_are_clipped_to_limits_that_carry_gradients():
    low, high = values(1.0)[None].T, values(3.0)[None].T.requires_grad_()
    found = clip_between(values(0.0, 2.0, 5.0)[None], low, high)
    assert found.tolist() == [[1.0, 2.0, 3.0]]
    (slope,) = torch.autograd.grad(found.sum(), high)
    assert float(slope) == 1.0


def points(z, sigma_z, n_volumes=1):
    n = len(z)
    xyz = torch.stack([torch.full((n,), 0.5, dtype=F64)] * 2 + [z], 1)
    sigma = torch.stack([torch.full((n,), 0.01, dtype=F64)] * 2 + [sigma_z], 1)
    return Poca(xyz, sigma, torch.ones(n, dtype=torch.bool))


def columns(n=10):
    return central_weights(n, 1.0), central_weights(n, 1.0)


def level(poca, accepted, n_volumes=1, **kwargs):
    weighted = kwargs.pop("weighted_quantiles", False)
    muons = heights(poca, accepted, n_volumes, columns(), 0.1, weighted_quantiles=weighted)
    return fill_level(muons, **kwargs)


def test_the_level_is_the_weighted_mean_of_the_heights():
    # sigma clipped to its quantiles: ranks 1 + round(q * 3) = 1 and 4 of 4: nothing is cut;
    # weights 1/1, 1/1, 1/4, 1/4, upper quantile of rank 4: nothing is cut
    found = level(
        points(values(0.6, 0.8, 1.0, 1.2), values(0.1, 0.1, 0.2, 0.2)), torch.ones(4, dtype=F64)
    )
    expected = (0.6 + 0.8 + 0.25 * (1.0 + 1.2)) / 2.5
    assert_close(found.level, values(expected))


def test_a_single_precise_muon_does_not_decide_alone():
    n = 101
    z = torch.full((n,), 0.8, dtype=F64)
    z[0] = 1.3
    sigma = torch.full((n,), 0.1, dtype=F64)
    sigma[0] = 1e-6
    found = level(points(z, sigma), torch.ones(n, dtype=F64))
    assert_close(found.level, values((0.8 * 100 + 1.3) / 101), rtol=1e-6, atol=0)


def test_d10_a_volume_without_accepted_muons_has_no_level():
    poca = points(values(0.6, 0.8, 1.0, 1.2), torch.full((4,), 0.1, dtype=F64))
    found = level(poca, values(0.9, 0.9, 0.0, 0.0), n_volumes=2)
    assert float(found.level[0]) == pytest.approx(0.7)
    assert torch.isnan(found.level[1])


def test_the_variance_is_that_over_exposures():
    rng = stream(41, "levels")
    n_volumes, n = 400, 300
    z = 0.9 + 0.2 * torch.randn(n_volumes * n, generator=rng, dtype=F64)
    sigma = 0.1 + 0.1 * torch.rand(n_volumes * n, generator=rng, dtype=F64)
    found = level(points(z, sigma), torch.ones_like(z), n_volumes)
    error = float(found.level.var()) * math.sqrt(2 / (n_volumes - 1))
    assert float(found.variance.mean()) == pytest.approx(
        float(found.level.var()), abs=SIGMAS * error
    )


def test_weighted_quantiles_count_muons_by_their_acceptance():
    # muons that are hardly accepted do not move the clipping limits
    n = 50
    z = torch.cat([torch.linspace(0.6, 1.2, n, dtype=F64), torch.full((n,), 0.9, dtype=F64)])
    sigma = torch.cat([torch.full((n,), 0.1, dtype=F64), torch.full((n,), 1e-3, dtype=F64)])
    accepted = torch.cat([torch.ones(n, dtype=F64), torch.full((n,), 1e-9, dtype=F64)])
    alone = level(points(z[:n], sigma[:n]), accepted[:n])
    weighted = level(points(z, sigma), accepted, weighted_quantiles=True)
    assert_close(weighted.level, alone.level, rtol=1e-4, atol=0)


def infer(state, volume, span=2.0, hard=False, **kwargs):
    inferrer = PocaZLadleFurnaceFillLevelInferrer(volume, **kwargs)
    above, below = (panel_stack(z, span=span) for z in HEIGHTS)
    inferrer.add_scatters(irradiate(state, volume, above, below, hard=hard))
    return inferrer


def test_the_level_follows_the_height_at_which_muons_scatter():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    for z in (0.6, 0.9, 1.2):
        state = kinked_muons(500, volume, where=torch.tensor([0.5, 0.5, z], dtype=F64))
        assert float(infer(state, volume, smooth=1.0).get_prediction()) == pytest.approx(
            z, abs=0.02
        )


def test_d38_oblong_volumes_and_odd_divisions_have_all_their_columns():
    # int(0.7 / 0.1) is 6, and x and y differ
    volume = FakeVolume(lw=torch.tensor([0.7, 0.9], dtype=F64), n_layers=10, z_low=0.4)
    inferrer = infer(kinked_muons(50, volume), volume)
    assert [len(column) for column in inferrer._columns] == [7, 9]
    assert torch.isfinite(inferrer.get_prediction()).all()


def test_several_volumes_are_predicted_together_and_empty_ones_are_none():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    state = kinked_muons(60, volume, n_volumes=3)
    state[1, :, [0, 4]] += 50.0
    inferrer = infer(state, volume, hard=True)
    first, none, third = inferrer.get_predictions()
    assert first.shape == third.shape == (1,)
    assert none is None
    assert inferrer.variances[1] is None
    with pytest.raises(ValueError, match="get_predictions"):
        inferrer.get_prediction()


def test_no_scatters_give_no_level():
    inferrer = PocaZLadleFurnaceFillLevelInferrer(FakeVolume())
    assert inferrer.get_predictions() == []
    assert inferrer.get_prediction() is None


def test_a_new_smoothness_makes_new_columns_and_must_be_positive():
    inferrer = PocaZLadleFurnaceFillLevelInferrer(FakeVolume())
    before = inferrer._columns[0]
    inferrer.smooth = 1.0
    assert inferrer._columns[0] != before
    assert inferrer._columns[0] == pytest.approx(central_weights(10, 1.0).tolist())
    with pytest.raises(ValueError, match="smooth"):
        inferrer.smooth = 0.0


def test_compat_detached_quantiles_change_the_gradient_and_not_the_level():
    volume = FakeVolume(n_layers=10, z_low=0.4)
    state = kinked_muons(200, volume)
    found = []
    for detach in (False, True):
        above, below = (panel_stack(z, span=1.0) for z in HEIGHTS)
        above.z.requires_grad_()
        inferrer = PocaZLadleFurnaceFillLevelInferrer(volume, 1.0, detach_quantiles=detach)
        inferrer.add_scatters(irradiate(state, volume, above, below))
        pred = inferrer.get_prediction()
        (slope,) = torch.autograd.grad(pred.sum(), above.z)
        found.append((pred.detach(), slope))
    assert_close(found[0][0], found[1][0])
    assert (found[0][1] - found[1][1]).abs().max() > 1e-6
