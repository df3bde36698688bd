"""Tables of scattering angles of the user's own."""

import numpy as np
import pytest
import torch

from tests.pipeline.common import TINY, tiny
from tomopt_tasks.config.load import load_study
from tomopt_tasks.core import UserError
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.muons.source import incident_muons
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.nearest import nearest
from tomopt_tasks.scattering.settings import HighlandSettings, TableScatterSettings
from tomopt_tasks.scattering.table import load_table, read_table
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.transport.passive import scatter_through
from tomopt_tasks.volume.settings import World

WORLD = World(size=(0.3, 0.3), passive=(0.2, 0.5), voxel=0.1, height=0.7)


def gaussian(**changes):
    """A table of Highland's width without its logarithm, for two materials."""
    radius, thickness = np.linspace(0.1, 8.0, 20), np.geomspace(1e-3, 1e3, 7)
    angle = 0.0136 * np.sqrt(thickness)[:, None] * radius
    arrays = {
        "material": np.array(["iron", "air"]),
        "x0": np.array([0.01757, 303.9]),
        "thickness": thickness,
        "radius": radius,
        "angle": np.stack([angle, angle]),
    }
    return arrays | changes


@pytest.fixture
def file(tmp_path):
    np.savez(tmp_path / "own.npz", **gaussian())
    return tmp_path / "own.npz"


def grid():
    x0 = torch.full((2, 3, 3, 3), 303.9, dtype=torch.float64)
    x0[:, 1, 1:] = 0.01757
    x0[1, 2, 0, 0] = torch.inf
    return x0


def test_a_gaussian_table_scatters_as_highland_without_the_logarithm(file):
    muons = incident_muons(MuonSettings(), WORLD, [stream(5, 0), stream(5, 1)], 200)
    normal = torch.randn(2, 3, 4, 200, generator=stream(5, "kicks"), dtype=torch.float64)
    own, highland = (
        scatter_through(grid(), WORLD.voxel, muons.above, muons.momentum, normal, scatter)
        for scatter in (TableScatterSettings(file=str(file)), HighlandSettings(log_term="none"))
    )
    torch.testing.assert_close(own, highland, rtol=1e-9, atol=1e-12)


def test_a_voxel_is_of_the_nearest_material_and_a_mixture_between():
    table = load_table(TableScatterSettings())
    names = np.array(table.names)
    x0 = torch.tensor([0.005612, 0.0057, 0.3608, 1e300], dtype=torch.float64)
    found = names[table.material(x0).long().numpy()]
    assert list(found[:3]) == ["lead", "lead", "water"]
    n, radius = (torch.tensor([v], dtype=torch.float64) for v in (0.1, 2.5))
    lead, gold = (float(np.flatnonzero(names == name)[0]) for name in ("lead", "beryllium"))
    ends = [table.stretch(torch.tensor([m]).double(), n, radius) for m in (lead, gold)]
    between = table.stretch(torch.tensor([0.5 * (lead + gold)]).double(), n, radius)
    assert min(ends) < between < max(ends)


def test_the_nearest_material_is_that_of_the_least_distance():
    known = torch.rand(40, generator=stream(14, "known"), dtype=torch.float64).mul(10).sub(6)
    x0 = torch.rand(4, 5, 6, generator=stream(14, "x0"), dtype=torch.float64).mul(12).sub(7).exp()
    expected = (x0.log().unsqueeze(-1) - known).abs().argmin(-1)
    assert torch.equal(nearest(x0, known), expected)


def test_thin_and_thick_layers_beyond_the_table_keep_its_ratio(file):
    table = load_table(TableScatterSettings(file=str(file)))
    zero, one = torch.zeros(1).double(), torch.ones(1).double()
    for thickness in (1e-9, 1e6):
        found = table.stretch(zero, one * thickness, one)
        assert found.item() == pytest.approx(0.0136 * thickness**0.5, rel=1e-9)


BAD = {
    "no array": ({"radius": None}, "an npz file with the arrays material, x0, thickness, radius"),
    "shape": ({"x0": np.ones(3)}, r"\(material, thickness, radius\) is \(2, 7, 20\), with \(3,\)"),
    "negative": ({"x0": np.array([1.0, -1.0])}, "x0 is not finite and > 0 everywhere"),
    "not ascending": ({"angle": np.ones((2, 7, 20))}, "angle does not ascend along its last axis"),
    "nan": ({"thickness": np.full(7, np.nan)}, "thickness is not finite and > 0 everywhere"),
    "words": ({"angle": np.full((2, 7, 20), "a")}, "is no table of scattering angles"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_ends_in_a_sentence(tmp_path, case):
    changes, says = BAD[case]
    arrays = {name: array for name, array in gaussian(**changes).items() if array is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=says):
        read_table(tmp_path / "bad.npz")


def test_a_table_that_is_missing_or_has_changed_ends_in_a_sentence(file):
    with pytest.raises(UserError, match="no such file"):
        load_table(TableScatterSettings(file="absent.npz"))
    with pytest.raises(UserError, match="has changed since this was planned"):
        load_table(TableScatterSettings(file=str(file), sha256="0" * 64))


def keys(study):
    return {stage.label: stage.key for stage in plan_study(study)}


def test_a_study_names_our_table_or_its_own_and_keys_know_the_content(file, tmp_path):
    ours = tiny(transport="{kind: table}")
    assert len(ours.transport.sha256) == 64
    before, after = keys(tiny()), keys(ours)
    changed = {label for label in before if before[label] != after[label]}
    assert {"train bank", "fine epoch 2", "evaluation"} <= changed
    assert not {"train volumes", "start of the fit"} & changed
    study = tmp_path / "study.yaml"
    text = f"extends: {TINY}\nversion: 1\nstudy: own\ntransport: {{kind: table, file: %s}}\n"
    study.write_text(text % "own.npz")
    first = keys(load_study(study))
    file.rename(tmp_path / "other.npz")
    study.write_text(text % "other.npz")
    assert keys(load_study(study)) == first
    np.savez(tmp_path / "other.npz", **gaussian(x0=np.array([0.0176, 303.9])))
    assert keys(load_study(study))["test bank"] != first["test bank"]
    study.write_text(text % "absent.npz")
    with pytest.raises(UserError, match=r"transport\.file: .* name a table of scattering angles"):
        load_study(study)


def test_muons_of_our_table_leave_with_heavier_tails_than_highlands():
    x0 = torch.full((1, 3, 3, 3), 0.0928, dtype=torch.float64)
    muons = MuonSettings(per_volume=4000)
    bent = {}
    for scatter in (TableScatterSettings(), HighlandSettings()):
        state = transport(x0, WORLD, muons, scatter, 5, "train")[0]
        assert torch.isfinite(state).all()
        angle = (state[..., 6] - state[..., 2]).abs().flatten()
        bent[scatter.kind] = float(angle.quantile(0.999) / angle.median())
    assert bent["table"] > 1.2 * bent["highland"]
