"""Every public name, corrected defect, golden value and physics test, with the test that shows it.

``inventory.csv`` holds the rows: a name (spec 14) or a method with its arguments, ``*`` before
those that must be named; a defect D-01 to D-65 (spec 12), with the test that fails when the old
behaviour is put back; a golden value (13.1); a required test of behaviour (13.2), by its number.
``make inventory`` prints the table.
"""

import ast
import csv
import importlib
import inspect
from functools import cache
from pathlib import Path

import pytest

import tomopt_tasks
from tests import print_inventory

ROOT = Path(__file__).parents[1]
N_DEFECTS = 65
N_VALUES = 18
"""Rows of spec 13.1, the two sources of fluxes and of angles together."""
N_BEHAVIOURS = 20

with (Path(__file__).parent / "inventory.csv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))


def of_kind(kind: str) -> list[dict[str, str]]:
    return [row for row in ROWS if row["kind"] == kind]


@cache
def functions_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef))


def find(name: str):
    thing = tomopt_tasks
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing


def wanted_arguments(row: dict[str, str]) -> list[tuple[str, bool, object]]:
    """Name, whether it must be named, and the default or ``inspect.Parameter.empty``."""
    call = ast.parse(f"def f({_as_arguments(row['arguments'])}): ...", mode="exec").body[0]
    assert isinstance(call, ast.FunctionDef)
    plain = [(a.arg, False) for a in call.args.args]
    keyed = [(a.arg, True) for a in call.args.kwonlyargs]
    defaults = [*call.args.defaults, *call.args.kw_defaults]
    values = [ast.literal_eval(value) for value in defaults if value is not None]
    return [(name, key, v) for (name, key), v in zip(plain + keyed, values, strict=True)]


def _as_arguments(text: str) -> str:
    """``a b=1`` as ``a=..., b=1``: an ellipsis stands for a default that is not compared."""
    parts, inside = [], ""
    for word in text.split(" "):
        inside = f"{inside} {word}" if inside else word
        if inside.count('"') % 2 == 0:
            parts.append(inside if "=" in inside or inside == "*" else f"{inside}=...")
            inside = ""
    return ", ".join(part for part in parts if part)


def test_no_defect_is_missing():
    found = [row["name"] for row in of_kind("defect")]
    assert found == [f"D-{number:02d}" for number in range(1, N_DEFECTS + 1)]


def test_no_golden_value_is_missing():
    names = [row["name"] for row in of_kind("value")]
    assert len(set(names)) == len(names) == N_VALUES


def test_no_required_behaviour_is_missing():
    numbers = [row["where"] for row in of_kind("physics")]
    assert list(dict.fromkeys(numbers)) == [f"13.2.{k}" for k in range(1, N_BEHAVIOURS + 1)]
    assert len({(row["where"], row["name"]) for row in of_kind("physics")}) == len(numbers)


def test_the_table_is_printed_row_by_row(capsys):
    print_inventory.main([])
    printed = capsys.readouterr().out
    assert all(row["test"] in printed for row in ROWS)
    print_inventory.main(["defect"])
    assert len(capsys.readouterr().out.splitlines()) == N_DEFECTS + 2


def test_no_name_is_missing():
    names = [row["name"] for row in of_kind("name")]
    assert len(set(names)) == len(names)
    assert sorted(names) == sorted(tomopt_tasks.__all__)


def test_every_row_names_a_test_that_exists():
    lost = []
    for row in ROWS:
        path, _, name = row["test"].partition("::")
        if not (ROOT / path).is_file() or name not in functions_in(path):
            lost.append(f"{row['name']}: {row['test']}")
    assert lost == []


def test_a_test_of_a_defect_names_it():
    """Its number is in the name of the test, or in its file with the name of the test."""
    for row in of_kind("defect"):
        path, _, name = row["test"].partition("::")
        number = row["name"].lower().replace("-", "")
        body = (ROOT / path).read_text(encoding="utf-8").partition(f"def {name}(")[2]
        text = body.partition("\n\n\n")[0]
        assert f"_{number}_" in f"_{name}_" or row["name"] in text, row["name"]


@pytest.mark.parametrize("row", of_kind("name"), ids=lambda row: row["name"])
def test_names_live_where_the_table_says(row):
    module = importlib.import_module(row["where"])
    assert find(row["name"]) is getattr(module, row["name"])


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row["arguments"]], ids=lambda row: row["name"]
)
def test_arguments_are_those_that_users_know(row):
    taken = inspect.signature(find(row["name"])).parameters
    assert not {p.kind for p in taken.values()} & {inspect.Parameter.VAR_POSITIONAL}
    wanted = wanted_arguments(row)
    for name, keyed, default in wanted:
        assert name in taken
        if default is not ...:
            assert (
                taken[name].default == pytest.approx(default)
                if isinstance(default, float | tuple)
                else taken[name].default == default
            )
        assert not keyed or taken[name].kind is inspect.Parameter.KEYWORD_ONLY
    plain = [name for name, keyed, _ in wanted if not keyed]
    positional = [n for n, p in taken.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional[: len(plain)] == plain
    known = {name for name, _, _ in wanted}
    extra = [p for n, p in taken.items() if n not in known]
    assert all(
        p.default is not inspect.Parameter.empty or p.kind is inspect.Parameter.VAR_KEYWORD
        for p in extra
    )


def test_the_table_can_be_read():
    table = "\n".join(f"{row['name']:44} {row['where'] or '-':40} {row['test']}" for row in ROWS)
    print(f"\n{table}")  # noqa: T201
    assert table.count("\n") + 1 == len(ROWS)
    assert all(row["test"] for row in ROWS)
