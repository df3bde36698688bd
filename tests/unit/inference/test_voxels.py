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
from tomopt_tasks.inference.voxels import PanelX0Inferrer, TomOptX0, UnbiasedX0

METHODS = [
    UnbiasedX0(),
    UnbiasedX0(weights="expected"),
    UnbiasedX0(share="voxel", log_term=False, subtract_resolution=False),
    TomOptX0(),
]


def infer(state, volume, method=None, **kwargs):
    panels = {k: kwargs.pop(k) for k in ("xy", "span", "res", "eff") if k in kwargs}
    inferrer = PanelX0Inferrer(volume, method)
    scatters = irradiate(
        state, volume, panel_stack(ABOVE, **panels), panel_stack(BELOW, **panels), **kwargs
    )
    inferrer.add_scatters(scatters)
    return inferrer


@pytest.mark.parametrize("method", METHODS)
def test_every_volume_of_a_scan_is_predicted_as_if_it_were_alone(method):
    volume = FakeVolume(lw=torch.tensor([0.3, 0.4], dtype=F64), n_layers=2)
    state = kinked_muons(50, volume, n_volumes=3)
    above, below = panel_stack(ABOVE, res=1e8), panel_stack(BELOW, res=1e8)
    scan = PanelX0Inferrer(volume, method)
    scan.add_scatters(irradiate(state, volume, above, below))
    together = scan.get_predictions()
    assert [tuple(x0.shape) for x0 in together] == [(2, 3, 4)] * 3
    for index, x0 in enumerate(together):
        alone = PanelX0Inferrer(volume, method)
        alone.add_scatters(irradiate(state[index : index + 1], volume, above, below))
        assert_close(alone.get_prediction(), x0, rtol=1e-3, atol=0)


@pytest.mark.parametrize("method", METHODS)
def test_batches_of_muons_add_up_to_one_exposure(method):
    volume = FakeVolume(n_layers=2)
    state = kinked_muons(60, volume, n_volumes=2)
    above, below = panel_stack(ABOVE, res=1e8), panel_stack(BELOW, res=1e8)
    whole, parts = PanelX0Inferrer(volume, method), PanelX0Inferrer(volume, method)
    whole.add_scatters(irradiate(state, volume, above, below))
    for part in (state[:, :25], state[:, 25:]):
        parts.add_scatters(irradiate(part, volume, above, below))
        parts.get_predictions()  # what was predicted from fewer scatters is forgotten
    for one, other in zip(whole.get_predictions(), parts.get_predictions(), strict=True):
        assert_close(one, other, rtol=1e-3, atol=0)


def test_no_scatters_give_no_prediction():
    inferrer = PanelX0Inferrer(FakeVolume())
    assert inferrer.get_prediction() is None
    assert inferrer.get_predictions() == []


@pytest.mark.parametrize("method", METHODS)
def test_d10_a_volume_without_accepted_muons_is_none_and_its_neighbour_is_not(method):
    volume = FakeVolume()
    state = kinked_muons(40, volume, n_volumes=2)
    state[1, :, [0, 4]] += 50.0  # the muons of the second volume miss all panels
    first, second = infer(state, volume, method, hard=True).get_predictions()
    assert second is None
    assert torch.isfinite(first).all()


@pytest.mark.parametrize("method", METHODS)
def test_d58_muons_with_broken_numbers_count_as_if_they_had_missed(method):
    volume = FakeVolume()
    state = kinked_muons(40, volume)
    broken, missed = state.clone(), state.clone()
    broken[0, :3, 0] = torch.nan
    broken[0, 3:6, 8] = torch.nan
    broken[0, 6:8, 5] = torch.inf
    missed[0, :8, 0] = 1e4  # entry outside ten widths of the volume: filtered
    x0 = infer(broken, volume, method).get_prediction()
    assert torch.isfinite(x0).all()
    assert_close(x0, infer(missed, volume, method).get_prediction(), rtol=1e-12, atol=0)


def test_voxels_that_no_muon_has_seen_get_the_mean_of_the_volume():
    # all kinks in one corner: the far corner is never crossed
    volume = FakeVolume(n_layers=2)
    corner = torch.tensor([0.15, 0.15, 0.3], dtype=F64)
    state = kinked_muons(500, volume, where=corner)
    state[..., 2:4] = 0.0
    state[..., 6:8] *= 0.1
    state[..., 0:2], state[..., 4:6] = 0.15, 0.15 + 0.1 * state[..., 6:8]
    inferrer = infer(state, volume, UnbiasedX0(log_term=False), res=1e7)
    x0 = inferrer.get_prediction()
    unseen = x0[:, 5:, 5:]
    assert_close(unseen, unseen[0, 0, 0].expand_as(unseen), rtol=1e-3, atol=0)
    assert_close(2 / unseen[0, 0, 0], (1 / x0[:, 1, 1]).sum(), rtol=0.02, atol=0)


def test_d51_one_muon_without_any_angle_does_not_take_over():
    # the seed's system gave such a muon a weight of 3.4e38
    volume = FakeVolume()
    state = kinked_muons(300, volume)
    straight = torch.zeros(1, 1, 9, dtype=F64)
    straight[..., [0, 1, 4, 5]], straight[..., 8] = 0.5, 5.0
    base = infer(state, volume, res=1e9).get_prediction()
    x0 = infer(torch.cat([state, straight], 1), volume, res=1e9).get_prediction()
    assert_close(x0.mean(), base.mean(), rtol=0.02, atol=0)


def test_d51_perfect_hits_have_finite_predictions_and_gradients():
    volume = FakeVolume()
    above, below = panel_stack(ABOVE, res=1e13), panel_stack(BELOW, res=1e13)
    above.z.requires_grad_()
    inferrer = PanelX0Inferrer(volume)
    inferrer.add_scatters(irradiate(kinked_muons(100, volume), volume, above, below))
    x0 = inferrer.get_prediction()
    (slope,) = torch.autograd.grad(x0.sum(), above.z)
    assert torch.isfinite(x0).all()
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("method", METHODS)
def test_gradients_equal_differences_with_the_same_noise(method):
    volume = FakeVolume(n_layers=3, lw=torch.tensor([0.4, 0.5], dtype=F64))
    state = kinked_muons(150, volume)

    def total(xy, z, span):
        above, below = panel_stack(ABOVE, res=1e3), panel_stack(BELOW, res=1e3)
        above.xy[:] = above.xy * 0 + xy
        moved = type(above)(above.xy * 0 + xy, z, above.span * 0 + span, *_rest(above))
        inferrer = PanelX0Inferrer(volume, method)
        inferrer.add_scatters(irradiate(state, volume, moved, below))
        return inferrer.get_prediction().log().sum()

    start = [
        torch.tensor([0.3, 0.2], dtype=F64),
        torch.tensor(ABOVE, dtype=F64),
        torch.tensor(0.8, dtype=F64),
    ]
    inputs = [value.clone().requires_grad_() for value in start]
    exact = torch.autograd.grad(total(*inputs), inputs)
    for which, value in enumerate(start):
        for index in range(value.numel()):
            found = []
            for step in (-1e-6, 1e-6):
                moved = [v.clone() for v in start]
                moved[which].view(-1)[index] += step
                found.append(float(total(*moved)))
            difference = (found[1] - found[0]) / 2e-6
            assert float(exact[which].view(-1)[index]) == pytest.approx(difference, rel=2e-4)


def _rest(panels):
    return panels.resolution, panels.efficiency, panels.smooth


def test_variables_of_the_kept_muons_have_the_names_of_the_seed():
    volume = FakeVolume()
    inferrer = infer(kinked_muons(30, volume), volume)
    n = inferrer.n_mu
    assert n == 30
    for name, width in (
        ("poca_xyz", 3),
        ("total_scatter", 1),
        ("theta_in", 1),
        ("theta_out", 1),
        ("mom", 1),
    ):
        assert getattr(inferrer, f"muon_{name}").shape == (n, width)
        assert getattr(inferrer, f"muon_{name}_unc").shape == (n, width)
    assert inferrer.muon_efficiency.shape == (n, 1)
    shares = inferrer.muon_probs_per_voxel_zxy
    assert shares.shape == (n, 6, 10, 10)
    assert_close(shares.sum((1, 2, 3)), torch.ones(n, dtype=F64))


def test_uncertainty_of_a_voxel_equals_the_spread_over_repeated_measurements():
    # the propagation is linear: small noise, compared with 40 repetitions (11 % standard error)
    volume = FakeVolume(lw=torch.tensor([0.2, 0.2], dtype=F64), n_layers=1, passive_size=0.2)
    state = kinked_muons(200, volume, width=0.05)
    method = UnbiasedX0(subtract_resolution=False)
    repeats = torch.stack(
        [infer(state, volume, method, res=3e4, seed=f"r{k}").get_prediction() for k in range(40)]
    )
    uncertainty = infer(state, volume, method, res=3e4).vox_zxy_x0_pred_uncs
    assert uncertainty.shape == (1, 1, 1)
    assert float(uncertainty) == pytest.approx(float(repeats.std(0)), rel=5 * 0.113)


def test_spec_value_of_the_inversion():
    angle = torch.tensor(0.018, dtype=F64) / 2**0.5
    half = torch.tensor(0.5, dtype=F64)
    x0 = PanelX0Inferrer.x0_from_scatters(0.1, angle, half, half, torch.tensor(5.0, dtype=F64))
    assert float(x0) == pytest.approx(5.2039703e-3, rel=1e-8)
