import io

import pytest
import torch
from torch.testing import assert_close

from tests.stats import assert_normal, assert_std
from tests.unit.inference.fakes import F64
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel, stack
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream

KINDS = [DetectorPanel, SigmoidDetectorPanel]


def panel(kind=DetectorPanel, **kwargs):
    given = {"res": 1e4, "eff": 0.9, "init_xyz": (0.5, 0.5, 1.0), "init_xy_span": (1.0, 2.0)}
    if kind is SigmoidDetectorPanel:
        given["smooth"] = 0.5
    return kind(**(given | kwargs)).double()


def vertical(*xy):
    """Muons that fly straight down at the given places, 0.2 m above the panel."""
    rows = torch.tensor([[x, y, 5.0, 0.0, 0.0] for x, y in xy], dtype=F64)
    mu = MuonBatch(rows, init_z=1.2)
    mu.rng = stream(3, "hits")
    return mu


@pytest.mark.parametrize("kind", KINDS)
def test_a_panel_is_not_called_with_muons(kind):
    with pytest.raises(NotImplementedError, match="use get_hits"):
        panel(kind)(vertical((0.5, 0.5)))


@pytest.mark.parametrize("kind", KINDS)
def test_training_is_soft_and_evaluation_is_hard_unless_told_otherwise(kind):
    there = torch.tensor([[0.5, 0.5], [0.5, 1.4], [1.2, 0.5]], dtype=F64)
    soft = panel(kind)
    assert (soft.get_efficiency(there) > 0).all()
    hard = panel(kind).eval()
    assert_close(hard.get_efficiency(there), torch.tensor([0.9, 0.9, 0.0], dtype=F64))
    assert_close(
        hard.get_resolution(there),
        torch.tensor([[1e4, 1e4], [1e4, 1e4], [0.0, 0.0]], dtype=F64),
    )
    stays = panel(kind, realistic_validation=False).eval()
    assert_close(stays.get_efficiency(there), soft.get_efficiency(there))


@pytest.mark.parametrize("kind", KINDS)
def test_the_response_of_a_panel_is_nominal_at_its_centre(kind):
    centre = torch.tensor([[0.5, 0.5]], dtype=F64)
    assert_close(panel(kind).get_efficiency(centre), torch.tensor([0.9], dtype=F64))
    assert_close(panel(kind).get_resolution(centre), torch.full((1, 2), 1e4, dtype=F64))


def test_hits_scatter_about_the_truth_with_the_resolution():
    mu = vertical(*[(0.5, 0.5)] * 20_000)
    hits = panel().get_hits(mu)
    residual = (hits["reco_xyz"] - hits["gen_xyz"]).detach()
    assert_normal(residual[:, 0], 1e-4)
    assert_std(residual[:, 1], 1e-4)
    assert (residual[:, 2] == 0).all()
    assert_close(hits["gen_xyz"][0].detach(), torch.tensor([0.5, 0.5, 1.0], dtype=F64))
    assert_close(hits["unc_xyz"][0].detach(), torch.tensor([1e-4, 1e-4, 0.0], dtype=F64))
    assert hits["eff"].shape == (20_000, 1)


def test_hits_off_a_hard_panel_are_missing_and_those_on_it_stay_on_it():
    mu = vertical(*[(0.99999, 0.5)] * 500, (1.2, 0.5))
    hits = panel().eval().get_hits(mu)
    assert (hits["reco_xyz"][:500, 0] <= 1.0).all()
    assert torch.isnan(hits["reco_xyz"][500, :2]).all()
    assert torch.isinf(hits["unc_xyz"][500, :2]).all()
    assert float(hits["eff"][500]) == 0.0


def test_d02_the_hit_moves_along_the_track_when_the_panel_moves():
    # REF holds x and moves z only; a track with slope 1 in x moves 1 m in x per m of height
    rows = torch.tensor([[0.5, 0.5, 5.0, torch.pi / 4, 0.0]], dtype=F64)
    made = panel()
    hits = made.get_hits(MuonBatch(rows, init_z=1.2))
    (slope,) = torch.autograd.grad(hits["gen_xyz"][0, 0], made.z, retain_graph=True)
    assert_close(slope, torch.tensor([-1.0], dtype=F64))
    (height,) = torch.autograd.grad(hits["reco_xyz"][0, 2], made.z)
    assert_close(height, torch.tensor([1.0], dtype=F64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_sets_the_area_and_keeps_the_shape(kind):
    made = panel(kind, m2_cost=2.0)
    budget = torch.tensor(5.0, dtype=F64, requires_grad=True)
    made.assign_budget(budget)
    assert_close(made.get_cost(), torch.tensor([5.0], dtype=F64))
    width, depth = made.get_scaled_xy_span().unbind()
    assert_close(depth / width, torch.tensor(2.0, dtype=F64))
    (slope,) = torch.autograd.grad(made.get_cost().sum(), budget)
    assert_close(slope, torch.tensor(1.0, dtype=F64))
    made.assign_budget(None)
    assert_close(made.get_cost(), torch.tensor([5.0], dtype=F64))


def test_golden_scale_of_the_ladle_budget():
    # 8 panels of 0.8 x 0.8, budget 6
    made = panel(init_xy_span=(0.8, 0.8))
    made.assign_budget(torch.tensor(6.0 / 8, dtype=F64))
    assert float(made.budget_scale.detach()) == pytest.approx(1.082532, abs=5e-7)


def test_d33_the_scale_of_a_budget_follows_its_panel_to_another_precision():
    made = DetectorPanel(res=1e4, eff=0.9, init_xyz=(0, 0, 1), init_xy_span=(1, 1))
    assert made.double().budget_scale.dtype == F64
    assert "budget_scale" not in made.state_dict()


def test_d55_whole_numbers_are_accepted_as_coordinates():
    made = DetectorPanel(res=10000, eff=1, init_xyz=[0, 0, 1], init_xy_span=[1, 1])
    assert made.xy.is_floating_point()
    assert made.xy.requires_grad


@pytest.mark.parametrize(
    ("name", "value"), [("res", 0.0), ("eff", 0.0), ("eff", 1.1), ("init_xy_span", (1.0, 0.0))]
)
def test_impossible_panels_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        panel(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_the_edge_must_have_a_positive_width(value):
    with pytest.raises(ValueError, match="smooth"):
        panel(SigmoidDetectorPanel, smooth=value)


def test_d16_the_width_of_the_edge_keeps_its_shape_through_a_checkpoint():
    made = panel(SigmoidDetectorPanel)
    made.smooth = torch.tensor(0.2)  # a schedule sets a number without axes
    assert made.smooth.shape == (1,)
    file = io.BytesIO()
    torch.save(made.state_dict(), file)
    file.seek(0)
    fresh = panel(SigmoidDetectorPanel)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert_close(fresh.smooth, torch.tensor([0.2], dtype=F64), rtol=1e-6, atol=0)


def test_d34_holding_a_panel_in_its_bounds_is_deterministic_and_idempotent():
    made = panel(init_xyz=(-1.0, 3.0, 1.0))
    for _ in range(2):
        made.clamp_params((0.0, 0.0, 0.8), (1.0, 1.0, 1.0))
        assert_close(made.xy.detach(), torch.tensor([0.0, 1.0], dtype=F64))
        assert float(made.z.detach()) == 1.0  # on the face: it stays there
    made.xy_span.data[:] = torch.tensor([1e-3, 50.0])
    made.clamp_params((0.0, 0.0, 0.8), (1.0, 1.0, 1.0), margin=0.01)
    assert_close(made.xy_span.detach(), torch.tensor([0.05, 10.0], dtype=F64))
    assert float(made.z.detach()) == pytest.approx(0.99)


def test_kinds_of_panels_are_not_mixed_in_a_stack():
    with pytest.raises(ValueError, match="mixes"):
        stack([panel(), panel(SigmoidDetectorPanel)])


def test_a_panel_is_not_a_function():
    with pytest.raises(NotImplementedError, match="get_hits"):
        panel()()


def test_the_distribution_behind_the_soft_response_has_its_edges_at_two_sigma():
    gauss = panel().get_gauss()
    assert_close(gauss.scale.detach(), torch.tensor([0.25, 0.5], dtype=F64))
    mask = panel().get_xy_mask(torch.tensor([[0.0, 0.5], [1.0, 0.5]], dtype=F64))
    assert mask.tolist() == [True, False]
