import csv
import math
import subprocess
import sys
from importlib.resources import files

import pytest

from tomopt_tasks.core import UserError
from tomopt_tasks.materials import DENSITIES, MATERIALS, X0, find_material, x0_from_mixture

BENCHMARK_ORDER = (
    "beryllium graphite silicon aluminium iron copper lead uranium air water SiO2 Al2O3 Fe2O3 MgO "
    "CaO toluene benzene K2O Na2O|soft tissue|steel|hot liquid steel|slag"
)


@pytest.fixture(scope="module")
def rows():
    with files("tomopt_tasks").joinpath("materials.csv").open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_the_benchmark_table_keeps_its_23_keys_in_published_order():
    head, *rest = BENCHMARK_ORDER.split("|")
    assert list(X0) == [*head.split(), *rest]


@pytest.mark.parametrize(
    ("name", "x0", "density"),
    [
        ("lead", 0.005612, 11350.0),
        ("uranium", 3.141e-3, 18950.0),
        ("air", 303.9, 1.205),
        ("hot liquid steel", 0.01991, 7000.0),
        ("slag", 0.08211, 2700.0),
    ],
)
def test_tabulated_values_are_the_published_ones(name, x0, density):
    assert X0[name] == x0
    assert DENSITIES[name] == density


def test_tables_cannot_be_changed():
    with pytest.raises(TypeError):
        X0["iron"] = 1.0


def test_x0_in_metres_is_x0_by_mass_over_density(rows):
    # g/cm2 / (kg/m3) = 10 m; both columns are rounded to 4 digits, hence 6e-4
    for row in rows:
        if row["x0_g_cm2"]:
            by_mass = 10 * float(row["x0_g_cm2"]) / float(row["density_kg_m3"])
            reference = float(row["pdg_x0_m"] or row["x0_m"])
            assert reference == pytest.approx(by_mass, rel=6e-4), row["name"]


def test_only_uranium_differs_from_the_pdg(rows):
    off = [
        row["name"]
        for row in rows
        if row["pdg_x0_m"]
        and not math.isclose(float(row["x0_m"]), float(row["pdg_x0_m"]), rel_tol=5e-4)
    ]
    assert off == ["uranium"]


def test_every_row_has_a_source_and_a_unique_name(rows):
    assert all(row["source"] for row in rows)
    assert len({row["name"] for row in rows}) == len(rows) == len(MATERIALS)


def test_materials_beyond_the_benchmarks_are_found():
    assert find_material("tungsten").x0 == 0.003504
    assert "tungsten" not in X0


@pytest.mark.parametrize(("typo", "offer"), [("Iron", "iron"), ("hot steel", "hot liquid steel")])
def test_a_misspelt_material_is_answered_with_the_nearest(typo, offer):
    with pytest.raises(UserError, match=f"'{typo}' is not known; use one of .*{offer}"):
        find_material(typo)


def test_mixture_by_weight_has_the_published_value():
    # specification 13.1: X0 43.25/1.33 and 42.7/3.52, weights 1:3
    mixed = x0_from_mixture([43.25 / 1.33, 42.7 / 3.52], [1.33, 3.52], weight_fracs=[1, 3])
    assert mixed["X0"] == pytest.approx(17.179, abs=5e-4)
    # 1 / (0.25 / 1.33 + 0.75 / 3.52) = 2.49353; the specification cuts it to 2.493
    assert mixed["density"] == pytest.approx(2.49353, abs=1e-5)


def test_mixture_by_volume_has_the_mean_density():
    mixed = x0_from_mixture([0.1, 0.3], [1000.0, 3000.0], volume_fracs=[0.25, 0.75])
    assert mixed["density"] == pytest.approx(2500.0)  # 0.25 * 1000 + 0.75 * 3000
    assert 1 / mixed["X0"] == pytest.approx(0.25 / 0.1 + 0.75 / 0.3)  # X0 adds by thickness


def test_a_mixture_of_one_material_is_that_material():
    mixed = x0_from_mixture([X0["iron"]] * 2, [DENSITIES["iron"]] * 2, volume_fracs=[2.0, 5.0])
    assert mixed == pytest.approx({"X0": X0["iron"], "density": DENSITIES["iron"]})


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({}, "not neither"),
        ({"weight_fracs": [1, 1], "volume_fracs": [1, 1]}, "not both"),
        ({"weight_fracs": [1]}, "equal lengths, got 2, 2 and 1"),
        ({"weight_fracs": [0, 0]}, "sum > 0"),
        ({"volume_fracs": [-1, 2]}, ">= 0"),
    ],
)
def test_impossible_mixtures_are_refused(fractions, message):
    with pytest.raises(ValueError, match=message):
        x0_from_mixture([0.1, 0.2], [1.0, 2.0], **fractions)


def test_a_mixture_of_nothing_thick_is_refused():
    with pytest.raises(ValueError, match="must be > 0"):
        x0_from_mixture([0.0, 0.2], [1.0, 2.0], weight_fracs=[1, 1])


def test_materials_import_without_torch():
    code = "import sys, tomopt_tasks.materials; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
