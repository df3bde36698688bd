"""The names at the top of the package: constants, types, documents and dependencies."""

import ast
import inspect
import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from typing import get_args

import pytest
import torch

import tomopt_tasks

ROOT = Path(__file__).parents[2]
PROVIDES = {"yaml": "ruamel-yaml", "PIL": "pillow", "ruamel": "ruamel-yaml"}
"""Import name -> distribution, where they differ."""
ELSEWHERE = {
    "cycler",
    "mpl_toolkits",
    "starlette",
    "uvicorn",
    "IPython",
    "pyarrow",
    "pydantic_core",
    "anyio",
}
"""Parts of a declared dependency, or asked for only where the user has them."""


def test_constants_are_those_of_the_seed():
    constants = {
        "DEVICE": torch.device("cpu"),
        "SCATTER_COEF_A": 0.0136,
        "SCATTER_COEF_B": 0.038,
        "TK_SZ": 16,
        "TK_COL": "black",
        "LBL_SZ": 22,
        "LBL_COL": "black",
        "LEG_SZ": 16,
        "CAT_PALETTE": "tab10",
        "STYLE": {"style": "whitegrid", "rc": {"patch.edgecolor": "none"}},
        "H_MID": 8,
        "W_MID": 8 * 16 / 9,
    }
    assert {name: getattr(tomopt_tasks, name) for name in constants} == constants


def test_type_names_describe_what_wrappers_and_layers_take():
    partial_opt = partial(torch.optim.SGD, lr=0.1)
    assert isinstance(partial_opt(iter([torch.nn.Parameter(torch.zeros(1))])), torch.optim.SGD)
    arguments, result = get_args(tomopt_tasks.PartialOpt)
    assert "Parameter" in str(arguments)
    assert result is torch.optim.Optimizer
    assert get_args(tomopt_tasks.RadLengthFunc) == (Ellipsis, torch.Tensor)


def test_names_are_listed_once_and_an_unknown_one_is_an_attribute_error():
    assert len(set(tomopt_tasks.__all__)) == len(tomopt_tasks.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Volum'"):
        _ = tomopt_tasks.Volum


def documented(text: str) -> list[str]:
    """Arguments that the Args section of a docstring describes."""
    section = re.search(r"Args:\n((?:[ ]+.*\n?|\n)+)", text)
    if section is None:
        return []
    lines = [line for line in section[1].splitlines() if line.strip()]
    indent = len(lines[0]) - len(lines[0].lstrip())
    found = []
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if depth < indent:
            break
        if depth == indent:
            found.append(line.strip().partition(":")[0])
    return found


def test_d30_docstrings_describe_the_arguments_that_there_are():
    """D-30: arguments in the text of the seed that the code did not have, and the reverse."""
    wrong, checked = {}, 0
    for name in tomopt_tasks.__all__:
        thing = getattr(tomopt_tasks, name)
        if not inspect.isclass(thing) and not inspect.isfunction(thing):
            continue
        assert inspect.getdoc(thing), name
        described = documented((inspect.getdoc(thing) or "") + "\n")
        if not described or "Args:" not in (thing.__doc__ or ""):
            continue
        checked += 1
        taken = [n for n in inspect.signature(thing).parameters if n not in {"self", "kwargs"}]
        if set(described) != set(taken):
            wrong[name] = sorted(set(described) ^ set(taken))
    assert wrong == {}
    assert checked > 40


def test_d62_every_import_is_a_declared_dependency():
    """D-62: the seed imported ``mypy_extensions`` without declaring it, and had two versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        lines += extra
    declared = {re.split(r"[\[<>=~! ]", line)[0].lower().replace(".", "-") for line in lines}
    used: dict[str, str] = {}
    for path in sorted((ROOT / "tomopt_tasks").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            used |= {name.partition(".")[0]: path.name for name in names}
    ours = {"tomopt_tasks", "flows"} | set(sys.stdlib_module_names) | ELSEWHERE
    missing = {
        name: where
        for name, where in used.items()
        if name not in ours and PROVIDES.get(name, name).lower().replace("_", "-") not in declared
    }
    assert missing == {}
    assert tomopt_tasks.__version__ == project["version"]


def test_d63_limits_of_the_model_are_written_down():
    import tomopt_tasks.scattering as scattering  # noqa: PLC0415, PLR0402

    for limit in ("tails", "energy loss", "momentum", "panels"):
        assert limit in (scattering.__doc__ or "")


def test_a_class_of_a_users_own_that_lacks_its_method_is_told_which():
    volume = tomopt_tasks.Volume(tomopt_tasks.get_initial_detector())
    scatters = torch.zeros(1)
    partial_x0 = tomopt_tasks.PanelX0Inferrer
    calls = {
        r"get_inference_loss\(pred, volume\)": lambda: tomopt_tasks.AbsDetectorLoss(
            target_budget=None
        )(scatters, volume),
        r"flux\(energy, theta\)": lambda: tomopt_tasks.AbsMuonGenerator((0, 1), (0, 1))(1),
        r"_generate\(\)": tomopt_tasks.AbsPassiveGenerator(volume).get_data,
        r"x02probs\(vox_preds\)": lambda: tomopt_tasks.AbsIntClassifierFromX0(
            partial_x0, volume
        ).from_x0s(scatters[:, None, None]),
    }
    for method, call in calls.items():
        with pytest.raises(NotImplementedError, match=f"^Abs.* needs a method {method} of its own"):
            call()
