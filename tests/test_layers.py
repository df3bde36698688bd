"""Who may import whom: the contracts of pyproject.toml, and two lists of what is allowed."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]

PHYSICS = [
    "core",
    "input_files",
    "quantities",
    "rng",
    "own",
    "materials",
    "utils",
    "muons",
    "scattering",
    "volume",
    "transport",
    "detectors",
    "inference",
    "losses",
    "callbacks",
    "wrapper",
]
PHYSICS_MAY_USE = {"jaxtyping", "numpy", "pydantic", "pydantic_core", "torch"}
# lazy ones: the reader of "10 cm", the display of a notebook, and the reader of Parquet
PHYSICS_EXCEPTIONS = {
    ("tomopt_tasks.quantities", "pint"),
    ("tomopt_tasks.callbacks.monitors", "IPython"),
    ("tomopt_tasks.muons.table", "pyarrow"),
}

FLOWS_MAY_USE = {
    "uvicorn",  # runs Prefect's server
    "flows",
    "prefect",
    "psutil",
    "pydantic",
    "tomopt_tasks._settings",
    "tomopt_tasks.caching",
    "tomopt_tasks.campaigns",
    "tomopt_tasks.commands",
    "tomopt_tasks.config",
    "tomopt_tasks.core",
    "tomopt_tasks.interrupts",
    "tomopt_tasks.planning",
    "tomopt_tasks.project",
    "tomopt_tasks.reports.artifacts",
    "tomopt_tasks.reports.standing",
    "tomopt_tasks.reports.status",
    "tomopt_tasks.runs",
    "tomopt_tasks.store",
    "tomopt_tasks.tasks",
}

LIGHT = ["core", "quantities", "config", "store", "planning", "caching", "cli"]

IMPORT_EACH = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    for heavy in ("torch", "prefect"):
        if heavy in sys.modules:
            sys.exit(f"{name} imports {heavy}")
"""


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph(
        "tomopt_tasks", "flows", include_external_packages=True, cache_dir=None
    )


def inside(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def test_import_contracts_are_kept():
    # in a process of its own: it configures logging, which silences loggers that tests listen to
    code = "import sys, importlinter.cli as cli; sys.exit(cli.lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_physics_half_needs_torch_numpy_and_pydantic_only(graph):
    physics = {f"tomopt_tasks.{name}" for name in PHYSICS}
    allowed = PHYSICS_MAY_USE | {"tomopt_tasks"} | set(sys.stdlib_module_names)
    foreign = [
        f"{module} imports {imported}"
        for module in sorted(graph.modules)
        if inside(module, physics)
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if not inside(imported, allowed) and (module, imported) not in PHYSICS_EXCEPTIONS
    ]
    assert foreign == []


def test_flows_see_tasks_settings_and_refs_only(graph):
    allowed = FLOWS_MAY_USE | set(sys.stdlib_module_names)
    foreign = [
        f"{module} imports {imported}"
        for module in sorted(graph.modules)
        if inside(module, {"flows"})
        for imported in sorted(graph.find_modules_directly_imported_by(module))
        if not inside(imported, allowed)
    ]
    assert foreign == []


def test_settings_store_plan_and_command_start_without_torch_and_prefect(graph):
    light = {f"tomopt_tasks.{name}" for name in LIGHT}
    settings = {module for module in graph.modules if module.endswith(".settings")}
    modules = sorted((light & graph.modules) | settings)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *modules], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
