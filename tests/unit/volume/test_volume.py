"""The volume of the notebook interface (spec 3.5)."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.unit.volume.stacks import F64, passives, uniform, volume
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.volume.volume import Volume


def test_a_volume_knows_its_layers():
    vol = volume()
    assert len(vol.get_passives()) == 6
    assert len(vol.get_detectors()) == 2
    assert vol[1] is vol.get_passives()[0]
    assert vol.h.item() == pytest.approx(1.0)
    z_low, z_high = vol.get_passive_z_range()
    assert z_low.item() == pytest.approx(0.2)
    assert z_high.item() == pytest.approx(0.8)
    assert vol.shape == (6, 10, 10)
    assert vol.passive_size == 0.1
    assert vol.lw.tolist() == [1.0, 1.0]
    assert isinstance(Volume(nn.ModuleList(passives(1))), Volume)


@pytest.mark.parametrize(
    ("low", "size", "lw", "n"), [(0.55, 0.1, (0.5, 0.3), 3), (0.5, 0.3, (0.9, 2.1), 2)]
)
def test_d24_voxels_start_at_the_bottom_of_the_volume(low, size, lw, n):
    """D-24: a bottom of 0.55 m gave edges 0.5 to 0.8 m, four layers for three."""
    vol = volume(n, low=low, size=size, lw=lw)
    n_x, n_y = round(lw[0] / size), round(lw[1] / size)
    edges = vol.xyz_edges
    assert edges.shape == (n_x * n_y * n, 3)
    torch.testing.assert_close(edges[0], torch.tensor([0.0, 0.0, low], dtype=F64))
    torch.testing.assert_close(edges[1], torch.tensor([0.0, 0.0, low + size], dtype=F64))
    last = torch.tensor([lw[0] - size, lw[1] - size, low + (n - 1) * size], dtype=F64)
    torch.testing.assert_close(edges[-1], last)
    torch.testing.assert_close(vol.xyz_centres, edges + size / 2)
    index = vol.lookup_passive_xyz_coords(vol.xyz_centres)
    assert index[:n, 2].tolist() == list(range(n))
    assert index[-1].tolist() == [n_x - 1, n_y - 1, n - 1]


def test_d25_looking_up_leaves_the_argument_alone_and_the_far_face_inside():
    """D-25: the caller's tensor was shifted, and the far face gave an index of n."""
    vol = volume()
    xyz = torch.tensor([[0.05, 0.95, 0.21], [1.0, 1.0, 0.8], [0.0, 0.0, 0.2]], dtype=F64)
    before = xyz.clone()
    assert vol.lookup_passive_xyz_coords(xyz).tolist() == [[0, 9, 0], [9, 9, 5], [0, 0, 0]]
    assert torch.equal(xyz, before)
    assert vol.lookup_passive_xyz_coords(xyz[0]).tolist() == [[0, 9, 0]]
    outside = torch.tensor([[1.1, 0, 0.3], [0, -0.1, 0.3], [0.5, 0.5, 0.1], [0.5, 0.5, 0.5]])
    with pytest.raises(ValueError, match="3 of 4 positions lie outside"):
        vol.lookup_passive_xyz_coords(outside.to(F64))


def test_layouts_come_as_functions_or_as_grids():
    vol = volume()
    with pytest.raises(ValueError, match=r"0 of 6 passive layers .* volume\.load_rad_length"):
        vol.get_rad_cube()
    vol.get_passives()[2].load_rad_length(uniform(0.5))
    with pytest.raises(ValueError, match="1 of 6 passive layers have a layout; load one into all"):
        vol.get_rad_cube()
    vol.load_rad_length(uniform(0.5), target=torch.tensor([7.0]))
    assert (vol.get_rad_cube() == 0.5).all()
    assert vol.target.item() == 7
    grid = torch.rand(6, 10, 10, dtype=F64) + 0.1
    vol.load_rad_length(grid)
    assert torch.equal(vol.get_rad_cube(), grid)
    assert torch.equal(vol.get_passives()[-1].rad_length, grid[0])
    assert vol.target is None


def test_volumes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one layer"):
        Volume([])
    with pytest.raises(ValueError, match="differ in width"):
        Volume([*passives(1, low=0.5), *passives(1, lw=(2.0, 1.0))])
    with pytest.raises(ValueError, match="several devices"):
        Volume([passives(1)[0].to("meta"), *passives(1)])
    with pytest.raises(ValueError, match="no passive layers"):
        _ = Volume([volume()[0]]).lw
    with pytest.raises(ValueError, match="no passive layers; give it at least one PassiveLayer"):
        Volume([volume()[0]]).get_rad_cube()


def test_without_a_budget_costs_add_up():
    vol = volume()
    assert vol.get_cost().tolist() == [1.0 + 3.0]
    assert Volume(passives(2)).get_cost().tolist() == [0.0]
    vol.assign_budget()
    assert vol[0].shares is None


def test_d45_shares_belong_to_panels_and_add_up_to_the_budget():
    """D-45: the i-th share went to the i-th highest panel, so crossing panels swapped budgets."""
    vol = volume(budget=6)
    assert vol.budget_weights.shape == (5,)
    vol.assign_budget()
    torch.testing.assert_close(
        torch.cat([vol[0].shares, vol[-1].shares]), torch.full((5,), 1.2, dtype=F64)
    )
    with torch.no_grad():
        vol.budget_weights[1] += 1.0
        vol[0].heights.copy_(torch.tensor([5.0, -5.0]))  # the order in z does not matter
    vol.assign_budget()
    assert vol[0].shares[1] > vol[0].shares[0]
    assert torch.cat([vol[0].shares, vol[-1].shares]).sum().item() == pytest.approx(6)
    assert vol.get_cost().tolist() == [6.0]
    vol[0].shares[0].backward()
    assert vol.budget_weights.grad.abs().sum() > 0


def test_only_learnable_things_are_in_checkpoints():
    assert set(volume(budget=6.0).state_dict()) == {
        "budget_weights",
        "layers.0.heights",
        "layers.7.heights",
    }


def test_muons_cross_all_layers_and_leave_a_trace():
    vol = volume(x0=0.0176)
    mu = MuonBatch(torch.tensor([[0.5, 0.5, 5.0, 0.2, 0.0]], dtype=F64).repeat(20, 1), vol.h)
    vol(mu)
    assert len(mu.xyz_hist) == 8
    heights = [xyz[0, 2] for xyz in mu.xyz_hist]
    assert heights == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.0])
    assert mu.theta.std() > 1e-3


def test_importing_a_volume_draws_nothing():
    code = (
        "import sys, tomopt_tasks.volume.volume; "
        "assert not any(name.split('.')[0] in ('matplotlib', 'plotly') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_d46_x_limits_are_those_of_x():
    """D-46: the drawing swapped the limits of x and y."""
    figure = Volume(passives(2)).draw(xlim=(-1.0, 2.0), ylim=(-3.0, 4.0), zlim=(0.0, 1.0))
    assert figure.axes[0].get_xlim() == pytest.approx((-1.0, 2.0))
    assert figure.axes[0].get_ylim() == pytest.approx((-3.0, 4.0))
