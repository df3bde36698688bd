"""Continuous slowing down against the table of materials, which holds more than the fit uses."""

import csv
from pathlib import Path

import pytest
import torch

from tomopt_tasks.core import UserError
from tomopt_tasks.scattering.highland import highland_angle
from tomopt_tasks.scattering.stopping import (
    LEAST_ENERGY,
    find_stopping_power,
    kinetic_energy,
    momentum_behind,
)

TABLE = Path(__file__).parents[2] / "data" / "inputs" / "materials.csv"
with TABLE.open(encoding="utf-8", newline="") as file:
    ROWS = {row["name"]: row for row in csv.DictReader(file) if row["dedx_4GeV_MeV_cm2_g"]}


def value(number):
    return torch.tensor([number], dtype=torch.float64)


@pytest.mark.parametrize("name", ROWS)
def test_the_loss_at_4_gev_is_the_tabulated_one(name):
    row = ROWS[name]
    expected = float(row["dedx_4GeV_MeV_cm2_g"]) * float(row["density_kg_m3"]) * 1e-4
    assert float(find_stopping_power(name)(value(4.0))) == pytest.approx(expected, rel=0.025)


@pytest.mark.parametrize("name", ["beryllium", "iron", "lead", "water", "concrete", "uranium"])
def test_muons_of_4_gev_end_near_their_tabulated_range(name):
    row = ROWS[name]
    length = float(row["range_4GeV_g_cm2"]) * 10 / float(row["density_kg_m3"])
    momentum = torch.sqrt(value(4.0) * (4.0 + 2 * 0.1056583755))
    before = momentum_behind(momentum, value(0.95 * length), find_stopping_power(name), 400)
    assert float(kinetic_energy(before)) > 5 * LEAST_ENERGY
    beyond = momentum_behind(momentum, value(1.05 * length), find_stopping_power(name), 400)
    assert float(kinetic_energy(beyond)) == pytest.approx(LEAST_ENERGY)


def test_a_metre_of_concrete_and_ten_centimetres_of_lead_cost_the_published_energy():
    # facts: 0.42 to 0.47 GeV in concrete at 1 to 4 GeV; 0.14 to 0.17 GeV in lead
    for name, length, low, high in (("concrete", 1.0, 0.40, 0.48), ("lead", 0.1, 0.13, 0.18)):
        for momentum in (1.5, 4.0):
            p = value(momentum)
            behind = momentum_behind(p, value(length), find_stopping_power(name))
            lost = float(kinetic_energy(p) - kinetic_energy(behind))
            assert low < lost < high


def test_d63_slower_muons_scatter_more_behind_lead():
    # facts: about 8 % at 1 GeV behind 10 cm of lead, here for a thin scatterer behind it
    p = value(1.0)
    behind = momentum_behind(p, value(0.1), find_stopping_power("lead"))
    wider = float(highland_angle(behind, value(1.0)) / highland_angle(p, value(1.0)))
    assert 1.13 < wider < 1.22


def test_two_halves_cost_what_the_whole_costs():
    p = torch.linspace(0.8, 20.0, 50, dtype=torch.float64)
    iron, path = find_stopping_power("iron"), torch.full((50,), 0.3, dtype=torch.float64)
    whole = momentum_behind(p, path, iron, 64)
    halves = momentum_behind(momentum_behind(p, path / 2, iron, 32), path / 2, iron, 32)
    torch.testing.assert_close(halves, whole, rtol=1e-12, atol=0)
    coarse = momentum_behind(p, path, iron)
    torch.testing.assert_close(coarse, whole, rtol=1e-3, atol=0)


def test_no_path_costs_nothing_and_gradients_are_those_of_differences():
    p = torch.tensor([0.3, 1.0, 5.0, 50.0], dtype=torch.float64, requires_grad=True)
    path = torch.full((4,), 0.07, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(momentum_behind(p, path * 0, find_stopping_power("iron")), p)
    assert torch.autograd.gradcheck(
        lambda a, b: momentum_behind(a, b, find_stopping_power("iron")),
        (p, path),
        eps=1e-7,
        atol=1e-5,
    )


def test_a_material_without_a_stopping_power_is_refused():
    with pytest.raises(UserError, match="'slag' has no stopping power"):
        find_stopping_power("slag")
    with pytest.raises(UserError, match="iron"):
        find_stopping_power("irn")
