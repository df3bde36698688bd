"""The notebooks of ``data/examples`` run from top to bottom, and say what is true."""

import csv
import re
from pathlib import Path

import pytest

import tomopt_tasks

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "data" / "examples"
SECONDS = 300
NOT_HERE = {"PGEANT_SCATTER_MODEL", "WeightedDeepVolumeInferrer"}


def read(name):
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(EXAMPLES / name, as_version=4)


def execute(name, monkeypatch, path):
    """The notebook with its outputs; any error in a cell is an error here."""
    nbclient = pytest.importorskip("nbclient")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(path / "runtime"))
    notebook = read(name)
    resources = {"metadata": {"path": str(path)}}
    nbclient.NotebookClient(notebook, timeout=SECONDS, resources=resources).execute()
    return notebook


def outputs(notebook):
    return [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]


def text_of(notebook):
    parts = [str(out.get("data", {}).get("text/plain", "")) for out in outputs(notebook)]
    return "\n".join(parts)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_hello_world_improves_its_detector_and_draws_it(monkeypatch, tmp_path):
    notebook = execute("hello_world.ipynb", monkeypatch, tmp_path)
    found = re.search(r"error: ([\d.e+]+) per m2 before the fit, ([\d.e+]+)", text_of(notebook))
    assert found is not None
    assert float(found[2]) < float(found[1])
    assert sum("image/png" in out.get("data", {}) for out in outputs(notebook)) == 3
    assert list(tmp_path.glob("*.*")) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_coming_from_tomopt_runs(monkeypatch, tmp_path):
    text = text_of(execute("coming_from_tomopt.ipynb", monkeypatch, tmp_path))
    assert f"{len(tomopt_tasks.__all__)} names, missing: []" in text


def test_notebooks_are_stored_without_outputs():
    for path in sorted(EXAMPLES.glob("*.ipynb")):
        assert outputs(read(path.name)) == [], path.name


def test_names_and_defects_of_the_migration_table_exist():
    cells = [c.source for c in read("coming_from_tomopt.ipynb").cells if c.cell_type == "markdown"]
    with (ROOT / "tests" / "inventory.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["name"] for row in csv.DictReader(file)}
    assert set(re.findall(r"D-\d\d", "\n".join(cells))) <= rows
    assert not any(hasattr(tomopt_tasks, name) for name in NOT_HERE)


def test_the_migration_table_has_every_public_name_and_method_once():
    """Spec 14, name by name: no name without a place, no place for a name that is not here."""
    cells = [c.source for c in read("coming_from_tomopt.ipynb").cells if c.cell_type == "markdown"]
    table = next(cell for cell in cells if "## 1. Imports" in cell).partition("|---|---|\n")[2]
    columns = [line.split("|")[2].split(";") for line in table.splitlines()]
    named = [name for names, *_ in columns for name in re.findall(r"`(\w+)`", names)]
    assert sorted(named) == sorted(tomopt_tasks.__all__)
    with (ROOT / "tests" / "inventory.csv").open(encoding="utf-8", newline="") as file:
        members = [r["name"] for r in csv.DictReader(file) if r["kind"] == "member"]
    methods = [name.partition(".")[2] for name in members if "Wrapper." in name]
    assert len(methods) == 11
    assert [name for name in methods if f"`{name}`" not in table] == []
