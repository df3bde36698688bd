"""Keys say the same in every process; the code digest sees what runs and nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomopt_tasks import kernels
from tomopt_tasks.caching import (
    Sources,
    canonical_json,
    components,
    device,
    digest,
    numerics,
    stage_key,
)
from tomopt_tasks.caching.device import DEVICE
from tomopt_tasks.core import Config, UserError
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.runs import body
from tomopt_tasks.store.opening import open_store


class Inputs(Config):
    height: float = 0.5
    names: tuple[str, ...] = ("a", "b")


def key(**changes: object) -> str:
    parts = components("fit_epoch", Inputs(), {"checkpoint": "0" * 64}, "c" * 64, numerics())
    return stage_key(parts | changes)


def test_order_of_names_and_kind_of_sequence_do_not_change_the_text():
    assert canonical_json({"b": (1, 2.5), "a": None}) == '{"a":null,"b":[1,2.5]}'
    assert canonical_json({"a": None, "b": [1, 2.5]}) == '{"a":null,"b":[1,2.5]}'


def test_minus_zero_is_zero_but_an_integer_is_not_a_float():
    assert canonical_json(-0.0) == canonical_json(0.0) == "0.0"
    assert canonical_json(1) != canonical_json(1.0)


@pytest.mark.parametrize("value", [{1, 2}, object(), {1: "a"}, b"bytes", Path("a")])
def test_values_without_one_text_are_refused(value):
    with pytest.raises(TypeError, match="key"):
        canonical_json(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="finite"):
        canonical_json(value)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False).filter(lambda x: abs(x) < 1e300),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_canonical_text_is_a_fixed_point(value):
    text = canonical_json(value)
    assert canonical_json(json.loads(text)) == text


def test_every_component_changes_the_key():
    other = {
        "stage": "predict",
        "schema": 2,
        "inputs": Inputs(height=0.6).model_dump(mode="json"),
        "parents": {"checkpoint": "1" * 64},
        "code": "d" * 64,
        "numerics": {**numerics().model_dump(), "dtype": "float32"},
    }
    keys = [key(), *(key(**{name: value}) for name, value in other.items())]
    assert len(set(keys)) == 7
    assert key() == key()


def test_the_order_in_which_parents_are_named_is_no_part_of_the_key():
    forth = components("predict", Inputs(), {"bank": "1", "volumes": "2"}, "c", numerics())
    back = components("predict", Inputs(), {"volumes": "2", "bank": "1"}, "c", numerics())
    assert stage_key(forth) == stage_key(back)


def test_keys_and_code_digests_are_equal_in_other_processes_and_import_no_torch():
    code = (
        "import sys\n"
        "from tomopt_tasks.caching import Sources, code_digest, digest, numerics\n"
        "from tomopt_tasks.caching.closure import package_sources\n"
        "code = package_sources().digest('tomopt_tasks.rng', 'stream')\n"
        "print(digest(numerics().model_dump()), code)\n"
        "assert 'torch' not in sys.modules and 'prefect' not in sys.modules\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert said.pop().startswith(digest(numerics().model_dump()))
    assert not said


# --- the closure of definitions, on small packages ------------------------------------------------


def package(folder: Path, **files: str) -> Sources:
    root = folder / "pkg"
    for name, text in {"__init__": "", **files}.items():
        path = root.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Sources(root)


def names(sources: Sources, start: str = "body") -> set[str]:
    return {f"{module}:{name}" for module, name in sources.closure("pkg.stages", start)}


STAGES = (
    "from pkg.physics import width\n\ndef body(x):\n    return width(x)\n\ndef other():\n    pass\n"
)


def test_a_stage_reaches_what_it_names_and_what_that_names(tmp_path):
    physics = (
        "from pkg.low import A\ndef width(x):\n    return A * half(x)\n"
        "def half(x):\n    return x / 2\ndef unused():\n    pass\n"
    )
    sources = package(tmp_path, stages=STAGES, physics=physics, low="A = 1.0\nB = 2.0\n")
    assert names(sources) == {
        "pkg.stages:body",
        "pkg.physics:width",
        "pkg.physics:half",
        "pkg.low:A",
    }


@pytest.mark.parametrize(
    ("import_line", "use"),
    [
        ("from pkg.low import draw", "draw()"),
        ("from pkg.low import draw as d", "d()"),
        ("from pkg import low", "low.draw()"),
        ("import pkg.low", "pkg.low.draw()"),
        ("import pkg.low as low", "low.draw()"),
        ("from pkg.again import draw", "draw()"),
        ("from pkg.lazy import draw", "draw()"),
    ],
)
def test_every_way_to_import_is_followed(tmp_path, import_line, use):
    files = {
        "low": "def draw():\n    return 1\n",
        "again": "from pkg.low import draw\n",
        "lazy.__init__": (
            'from pkg.core import lazy_exports\n_HERE = "pkg"\n'
            '__getattr__ = lazy_exports(__name__, {"draw": f"{_HERE}.low"})\n'
        ),
        "core": "def lazy_exports(*a):\n    return a\n",
    }
    at_top = package(tmp_path / "a", stages=f"{import_line}\ndef body():\n    {use}\n", **files)
    inside = package(tmp_path / "b", stages=f"def body():\n    {import_line}\n    {use}\n", **files)
    assert "pkg.low:draw" in names(at_top)
    assert "pkg.low:draw" in names(inside)


def test_modules_named_in_strings_and_quoted_annotations_are_followed(tmp_path):
    stages = (
        "import importlib\n"
        "def body(x: 'Shape | None'):\n"
        "    return importlib.import_module('pkg.low').draw()\n"
        "class Shape:\n    size = 1\n"
    )
    sources = package(tmp_path, stages=stages, low="def draw():\n    return 1\n")
    assert names(sources) == {"pkg.stages:body", "pkg.stages:Shape", "pkg.low:draw"}


def test_statements_without_a_name_count_with_their_module(tmp_path):
    files = {"physics": "TABLE = {}\ndef width(x):\n    return TABLE[x]\n"}
    plain = package(tmp_path / "a", stages=STAGES, **files)
    filled = package(
        tmp_path / "b",
        stages=STAGES,
        physics=files["physics"] + "TABLE['a'] = 1\nTABLE.update(b=2)\n",
    )
    assert "pkg.physics:<module>" in names(filled)
    assert plain.digest("pkg.stages", "body") != filled.digest("pkg.stages", "body")


CODE = '''"""Module."""
SCALE = 2.0
def width(x):
    """Width."""
    # why
    return SCALE * x
class Panel:
    """A panel."""
    side: float = 1.0
    """Side [m]."""
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('"""Width."""', '"""Another text."""', True),
        ("    # why\n", "    # because\n\n", True),
        ('"""Module."""\n', "", True),
        ("return SCALE * x", "return (SCALE*x)", True),
        ('"""Side [m]."""', '"""Length of a side [m]."""', True),
        ("side: float = 1.0", "side: float = 1.5", True),  # body does not reach Panel
        ("SCALE = 2.0", "SCALE = 3.0", False),
        ("SCALE * x", "x * SCALE", False),
    ],
)
def test_only_what_runs_changes_the_digest(tmp_path, old, new, same):
    assert old in CODE
    before = package(tmp_path / "a", stages=STAGES, physics=CODE)
    after = package(tmp_path / "b", stages=STAGES, physics=CODE.replace(old, new))
    equal = before.digest("pkg.stages", "body") == after.digest("pkg.stages", "body")
    assert equal is same


def test_a_change_is_placed_in_its_module(tmp_path):
    before = package(tmp_path / "a", stages=STAGES, physics=CODE)
    after = package(tmp_path / "b", stages=STAGES, physics=CODE.replace("2.0", "3.0"))
    old, new = (each.parts("pkg.stages", "body") for each in (before, after))
    assert {name for name in old if old[name] != new[name]} == {"pkg.physics"}


def test_carriers_are_not_followed(tmp_path):
    stages = "from pkg.store.codec import pack\ndef body():\n    return pack()\n"
    sources = package(tmp_path, stages=stages, **{"store.codec": "def pack():\n    return 1\n"})
    assert names(sources) == {"pkg.stages:body"}


def test_functions_registered_with_a_dispatcher_count(tmp_path):
    physics = "def width(x):\n    return 1\n@width.register\ndef _(x: int):\n    return {}\n"
    one = package(tmp_path / "a", stages=STAGES, physics=physics.format(2))
    two = package(tmp_path / "b", stages=STAGES, physics=physics.format(3))
    assert one.digest("pkg.stages", "body") != two.digest("pkg.stages", "body")


def test_a_data_file_counts_where_it_is_named(tmp_path):
    physics = "def width(x):\n    return open('table.csv').read()\n"
    digests = set()
    for folder, table in (("a", "1,2"), ("b", "1,2"), ("c", "1,3")):
        package(tmp_path / folder)
        (tmp_path / folder / "pkg" / "table.csv").write_text(table)
        sources = package(tmp_path / folder, stages=STAGES, physics=physics)
        digests.add(sources.digest("pkg.stages", "body"))
    assert len(digests) == 2


def test_the_device_is_resolved_before_a_key_is_made(monkeypatch):
    monkeypatch.delenv(DEVICE, raising=False)
    plain = key()
    monkeypatch.setenv(DEVICE, "auto")
    assert numerics().device in ("cpu", "cuda")
    assert (key() == plain) == (numerics().device == "cpu")
    monkeypatch.setenv(DEVICE, "cpu")
    assert key() == plain
    monkeypatch.setenv(DEVICE, "gpu")
    with pytest.raises(UserError, match="TOMOPT_DEVICE=gpu: is no device; use cpu, cuda, cuda:1"):
        numerics()


def test_a_key_holds_the_type_of_the_device_and_nothing_else_of_it(monkeypatch):
    monkeypatch.setattr(device, "_cuda_devices", lambda: 2)
    monkeypatch.setattr(device, "_free_memory", lambda _: 6 << 30)
    keys, memory = {}, {}
    for asked in ("cpu", "cuda", "cuda:1", "auto"):
        monkeypatch.setenv(DEVICE, asked)
        keys[asked] = key()
        memory[asked] = device.graph_memory(device.compute_device())
    assert keys["cuda"] == keys["cuda:1"] == keys["auto"] != keys["cpu"]
    assert memory == {"cpu": None, "cuda": 3 << 30, "cuda:1": 3 << 30, "auto": 3 << 30}
    assert device.compute_device() == "cuda:0"
    monkeypatch.setenv(device.GPU_MEMORY, "1.5 GB")
    assert device.graph_memory("cuda:1") == 1_500_000_000
    assert device.graph_memory("cpu") is None
    monkeypatch.setenv(DEVICE, "cuda:2")
    with pytest.raises(UserError, match="TOMOPT_DEVICE=cuda:2: torch finds 2 CUDA devices here"):
        device.compute_device()
    for bad in ("much", "-1GB", "0 GB", "8"):
        monkeypatch.setenv(device.GPU_MEMORY, bad)
        with pytest.raises(UserError, match=f"TOMOPT_GPU_MEMORY={bad}: is no amount of memory"):
            device.graph_memory("cpu")


def test_a_key_says_whether_kernels_are_compiled(monkeypatch):
    monkeypatch.setattr("tomopt_tasks.caching.device.shutil.which", lambda _: "/usr/bin/g++")
    monkeypatch.setenv(DEVICE, "cpu")
    keys = {}
    for asked in ("", "off", "on", "auto"):
        monkeypatch.setenv(device.COMPILE, asked)
        keys[asked] = key()
    assert keys["on"] == keys["auto"] != keys["off"] == keys[""]
    monkeypatch.setenv(device.COMPILE, "yes")
    with pytest.raises(UserError, match="TOMOPT_COMPILE=yes: is no such setting; use on, off or"):
        numerics()


@pytest.mark.parametrize(
    ("compiler", "place", "why"),
    [
        (None, "cpu", r"there is no C\+\+ compiler \(g\+\+, or \$CXX\); install one, or"),
        ("/usr/bin/g++", "cuda:1", "kernels are compiled for a CPU, but the device is cuda:1, or"),
    ],
)
def test_what_cannot_be_compiled_is_refused_or_left(monkeypatch, compiler, place, why):
    monkeypatch.setattr("tomopt_tasks.caching.device.shutil.which", lambda _: compiler)
    monkeypatch.setattr(device, "_cuda_devices", lambda: 2)
    monkeypatch.setenv(DEVICE, place)
    monkeypatch.setenv(device.COMPILE, "auto")
    assert not device.compiled()
    monkeypatch.setenv(device.COMPILE, "on")
    with pytest.raises(UserError, match=f"TOMOPT_COMPILE=on: {why}"):
        device.compiled()


@pytest.mark.parametrize("asked", ["on", "off"])
def test_a_body_computes_as_its_key_says(tmp_path, monkeypatch, asked):
    seen = []

    def evaluate(store, name, settings, parents):
        seen.append(kernels._on)
        raise UserError("enough")

    monkeypatch.setattr(body, "bodies", lambda: {"evaluate": evaluate})
    monkeypatch.setattr(body, "INPUTS", {"evaluate": Inputs})
    monkeypatch.setattr("tomopt_tasks.caching.device.shutil.which", lambda _: "/usr/bin/g++")
    monkeypatch.setenv(DEVICE, "cpu")
    monkeypatch.setenv(device.COMPILE, asked)
    work = a_work(tmp_path)
    with pytest.raises(UserError, match="enough"):
        body.perform(work)
    assert seen == [asked == "on"]
    assert kernels._on is False
    monkeypatch.setenv(device.COMPILE, "off" if asked == "on" else "on")
    here, there = ("False", "True") if asked == "on" else ("True", "False")
    with pytest.raises(UserError) as refused:  # on a worker that was started otherwise
        body.perform(work)
    assert len(seen) == 1
    assert str(refused.value) == (
        f"evaluate: this worker computes with compiled {here}, but the key is of compiled {there}; "
        "start it with the same torch, TOMOPT_DEVICE and TOMOPT_COMPILE as the process that plans "
        "the run"
    )


def a_work(folder):
    parts = components("evaluate", Inputs(), {}, "c" * 64, numerics())
    stage = Stage("evaluate", "evaluate", Inputs(), {}, parts, stage_key(parts))
    return body.work_of(stage, open_store(folder), {})
