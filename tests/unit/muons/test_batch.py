"""The batch of muons of the notebook interface (spec 2.1)."""

from dataclasses import dataclass
from math import pi, sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tomopt_tasks.muons import angles
from tomopt_tasks.muons.batch import MuonBatch


def batch(*rows, z=1.0):
    return MuonBatch(torch.tensor(rows, dtype=torch.float64), z)


def ten():
    rows = [(0.1 * i, 0.5, 5.0, 0.1 * i, 0.6 * i) for i in range(10)]
    return batch(*rows)


@dataclass(frozen=True)
class SomeHits:
    """Hits as a detector layer records them."""

    depth: Tensor
    position: Tensor

    def as_dict(self, _lines):
        panels = range(self.position.shape[1])
        return [{"reco_xyz": self.position[:, panel]} for panel in panels]


def test_a_muon_at_45_degrees_moves_as_far_sideways_as_down():
    mu = batch((0.0, 0.0, 5.0, pi / 4, 3 * pi / 4))
    mu.propagate_dz(1.0)
    expected = torch.tensor([[-1 / sqrt(2), 1 / sqrt(2), 0.0]], dtype=torch.float64)
    torch.testing.assert_close(mu.xyz, expected)


def test_a_path_is_longer_than_its_depth():
    mu = batch((0.0, 0.0, 5.0, pi / 3, 0.0))
    mu.propagate_d(2.0)
    torch.testing.assert_close(
        mu.xyz, torch.tensor([[sqrt(3), 0.0, 0.0]], dtype=torch.float64), rtol=0, atol=1e-12
    )


def test_only_selected_muons_move():
    mu = ten()
    mask = torch.arange(10) < 3
    mu.propagate_dz(torch.tensor([0.1, 0.2, 0.3]), mask)
    torch.testing.assert_close(
        mu.z, torch.tensor([0.9, 0.8, 0.7] + [1.0] * 7, dtype=torch.float64), rtol=0, atol=1e-7
    )
    mu.scatter_dxyz(dx_vol=torch.tensor([1.0, 1.0, 1.0]), mask=mask)
    assert (mu.x[:3] > 0.9).all()


def test_the_input_is_copied_and_views_keep_their_values():
    rows = torch.rand(4, 5, dtype=torch.float64)
    mu = MuonBatch(rows, 1.0)
    before = mu.xy
    rows[:, 0] = 7.0
    mu.propagate_dz(1.0)
    assert (before[:, 0] < 1).all()
    assert not torch.equal(mu.xy, before)


def test_kinematics_are_read_only_but_for_their_underscored_names():
    mu = ten()
    for name in ("x", "y", "z", "xy", "xyz", "theta", "phi", "theta_x", "theta_xy", "xyz_hist"):
        with pytest.raises(AttributeError):
            setattr(mu, name, torch.zeros(10))
    for name in ("mom", "reco_mom"):
        with pytest.raises(NotImplementedError):
            setattr(mu, name, torch.zeros(10))
    mu._x, mu._mom = torch.full((10,), 3.0).double(), torch.ones(10).double()
    assert (mu.x == 3).all()
    assert (mu.reco_mom == 1).all()
    mu._xyz = torch.zeros(10, 3).double()
    assert (mu.z == 0).all()


AZIMUTHS = (0.0, pi / 2, pi, 3 * pi / 2, 1e-12, 2 * pi - 1e-9, 4.0)


@given(st.floats(0.0, 1.5), st.sampled_from(AZIMUTHS) | st.floats(0.0, 6.28))
def test_angles_survive_the_way_to_projections_and_back(theta, phi):
    t, f = torch.tensor([theta]).double(), torch.tensor([phi]).double()
    x, y = angles.theta_x_from_theta_phi(t, f), angles.theta_y_from_theta_phi(t, f)
    back = angles.phi_from_theta_xy(x, y)
    torch.testing.assert_close(angles.theta_from_theta_xy(x, y), t, rtol=1e-9, atol=1e-12)
    assert 0 <= back < 2 * pi
    if theta > 1e-9:
        turn = torch.remainder(back - f + pi, 2 * pi) - pi
        assert turn.abs() < 1e-9


def test_d23_azimuth_is_defined_everywhere():
    """D-23: straight down gave NaN, and tan x = -0.0 gave -pi/2."""
    x = torch.tensor([0.0, -0.0, 0.0, -0.0, -0.0, 0.0, -1e-300], dtype=torch.float64)
    y = torch.tensor([0.0, 0.0, -0.0, -0.0, 0.3, -0.3, 0.0], dtype=torch.float64)
    expected = torch.tensor([0, 0, 0, 0, pi / 2, 3 * pi / 2, pi], dtype=torch.float64)
    torch.testing.assert_close(angles.phi_from_theta_xy(x, y), expected)
    assert (angles.wrap(torch.tensor([-1e-30])) < 2 * pi).all()


def test_angles_that_do_not_fly_down_are_not_numbers():
    flat = torch.tensor([pi / 2 + 0.1]).double()
    assert angles.theta_from_theta_xy(flat, flat).isnan()
    assert angles.phi_from_theta_xy(flat, flat * 0).isnan()
    assert angles.theta_x_from_theta_phi(flat, flat).isnan()


def test_turning_over_the_vertical_turns_the_azimuth_round():
    mu = batch((0.0, 0.0, 5.0, 0.1, 1.0))
    mu.scatter_dtheta_dphi(dtheta_vol=torch.tensor([-0.3]).double())
    torch.testing.assert_close(mu.theta, torch.tensor([0.2]).double())
    torch.testing.assert_close(mu.phi, torch.tensor([1.0 + pi]).double())


def test_projected_increments_add_up():
    mu = batch((0.0, 0.0, 5.0, 0.3, 1.0))
    theta_x, theta_y = mu.theta_x.clone(), mu.theta_y.clone()
    mu.scatter_dtheta_xy(torch.tensor([0.05]).double(), torch.tensor([-0.1]).double())
    torch.testing.assert_close(mu.theta_x, theta_x + 0.05)
    torch.testing.assert_close(mu.theta_y, theta_y - 0.1)
    torch.testing.assert_close(mu.theta_xy, torch.stack([mu.theta_x, mu.theta_y], 1))
    assert mu.dtheta_x(theta_x) == pytest.approx(0.05)
    assert mu.dtheta_y(theta_y) == pytest.approx(0.1)
    assert mu.dtheta(mu.theta - 0.2) == pytest.approx(0.2)


def test_upward_muons_are_removed_with_their_hits_and_remembered():
    mu = ten()
    mu.append_hits({"reco_xyz": mu.xyz}, "above")
    mu.records["below"] = (None, SomeHits(torch.zeros(10), mu.xyz[:, None]))
    mu.scatter_dtheta_xy(dtheta_x_vol=torch.tensor([2.0]), mask=torch.arange(10) == 4)
    assert len(mu) == 9
    assert mu.upwards_muons.shape == (1, 6)
    hits = mu.get_hits()
    assert hits["above"]["reco_xyz"].shape == (9, 1, 3)
    torch.testing.assert_close(hits["above"]["reco_xyz"][:, 0], mu.xyz)
    torch.testing.assert_close(hits["below"]["reco_xyz"][:, 0], mu.xyz)
    assert mu.records["below"][1].depth.shape == (10,)  # two axes or more are the muons'


def test_d19_a_batch_of_one_muon_can_be_emptied():
    """D-19: a mask of one muon lost its axis."""
    mu = batch((0.0, 0.0, 5.0, 0.3, 0.0))
    mu.append_hits({"reco_xyz": mu.xyz}, "above")
    mu.filter_muons(torch.tensor([False]))
    assert len(mu) == 0
    assert mu.xy.shape == (0, 2)
    assert mu.get_hits()["above"]["reco_xyz"].shape == (0, 1, 3)


def test_d50_history_follows_the_muons_that_are_left():
    """D-50: entries of the history had different lengths and could not be aligned."""
    mu = ten()
    mu.snapshot_xyz()
    mu.filter_muons(mu.x > 0.35)
    mu.propagate_dz(0.1)
    mu.snapshot_xyz()
    mu.filter_muons(mu.x > 0.55)
    first, second = (torch.as_tensor(xyz) for xyz in mu.xyz_hist)
    assert first.shape == second.shape == (len(mu), 3)
    torch.testing.assert_close(second, mu.xyz)
    torch.testing.assert_close(first[:, 2], torch.ones(len(mu)).double())


def test_masks_are_half_open():
    mu = batch(
        *[(x, y, 5.0, 0.0, 0.0) for x, y in ((0, 0), (1, 0), (0, 1), (0.5, 0.999), (-1e-9, 0))]
    )
    assert mu.get_xy_mask((0, 0), (1, 1)).tolist() == [True, False, False, True, False]
    assert mu.get_xy_mask(None, (1, 1)).tolist() == [True, False, False, True, True]
    assert mu.get_xy_mask().all()


def test_hits_can_be_restricted_to_muons_inside():
    mu = ten()
    for _ in range(2):
        mu.append_hits({"reco_xyz": mu.xyz, "eff": mu.x[:, None]}, "above")
    hits = mu.get_hits(xy_low=(0.25, 0.0), xy_high=None)
    assert hits["above"]["reco_xyz"].shape == (7, 2, 3)
    assert hits["above"]["eff"].shape == (7, 2, 1)
    with pytest.raises(ValueError, match="no hits yet"):
        ten().get_hits()


def test_a_copy_has_the_same_muons_but_no_hits_and_no_history():
    mu = ten()
    mu.append_hits({"reco_xyz": mu.xyz}, "above")
    mu.snapshot_xyz()
    twin = mu.copy()
    assert torch.equal(twin.muons, mu.muons)
    assert twin.xyz_hist == []
    with pytest.raises(ValueError, match="no hits"):
        twin.get_hits()
    twin.propagate_dz(0.5)
    assert (mu.z == 1.0).all()


def test_lines_and_angles_are_the_same_directions():
    slope = torch.tensor([[0.3, -0.4], [0.0, 0.0], [-2.0, 1.0]], dtype=torch.float64)
    mu = MuonBatch.from_lines(slope, slope, torch.ones(3).double(), 1.4)
    torch.testing.assert_close(mu.tan_xy, slope)
    assert mu.plane == 1.4
    mu.set_slopes(-slope[:, 0], slope[:, 1])
    torch.testing.assert_close(mu.tan_xy[:, 0], -slope[:, 0])
    mu.propagate_dz(torch.tensor([0.0, 0.1, 0.0]))
    with pytest.raises(ValueError, match="different heights"):
        _ = mu.plane


def test_starting_heights_may_differ_and_precision_is_kept():
    mu = MuonBatch(torch.zeros(3, 5), torch.tensor([1.0, 2.0, 3.0]))
    assert mu.z.tolist() == [1.0, 2.0, 3.0]
    assert mu.muons.dtype == torch.float32
    assert MuonBatch(torch.zeros(1, 5).double(), torch.tensor([1.0])).muons.dtype == torch.float64
