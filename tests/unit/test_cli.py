"""The command line: mistakes end in one sentence and exit code 2, and nothing is written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.common import TINY
from tomopt_tasks import cli
from tomopt_tasks.store.opening import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tomopt(tmp_path, monkeypatch, capsys):
    """Calls the command in an empty folder; exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOMOPT_STORE", raising=False)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tomopt", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call


def test_help_and_version(tomopt):
    assert tomopt("--version")[:2] == (0, "tomopt 0.1.0\n")
    _, out, _ = tomopt("--help")
    assert all(name in out for name in ("plan", "run", "report", "show", "evaluate", "schema"))


def test_plan_says_what_would_run_and_writes_nothing(tomopt, tmp_path):
    code, out, err = tomopt("plan", str(TINY))
    assert (code, err) == (0, "")
    assert "19 of 19 stages would run" in out
    assert list(tmp_path.iterdir()) == []


def test_set_changes_the_study_that_show_prints(tomopt):
    code, out, _ = tomopt("show", str(TINY), "--set", "world.voxel=5 cm", "--set", "seed=8")
    assert code == 0
    assert "voxel: 0.05" in out
    assert "seed: 8" in out


def test_the_schema_is_json(tomopt):
    _, out, _ = tomopt("schema")
    assert "world" in json.loads(out)["properties"]


BAD = {
    "no such file": "",
    "no yaml": "version: 1\n  a: [",
    "unknown key": TINY.read_text() + "\ncolour: red\n",
    "wrong dimension": TINY.read_text().replace("voxel: 10 cm", "voxel: 10 GeV"),
    "wrong sign": TINY.read_text().replace("per_volume: 60", "per_volume: -60"),
    "panel in the volume": TINY.read_text().replace("1.48, 1.46", "1.30, 1.46"),
    "budget": TINY.read_text().replace("area: 6 m2", "area: 0 m2"),
}


@pytest.mark.parametrize("runner", ["plain", "prefect"])
@pytest.mark.parametrize("case", BAD)
def test_a_bad_study_ends_in_one_sentence_and_nothing_is_written(tomopt, tmp_path, case, runner):
    file = tmp_path / "study.yaml"
    if BAD[case]:
        file.write_text(BAD[case])
    code, out, err = tomopt("run", str(file), "--runner", runner)
    assert (code, out) == (2, "")
    assert err.startswith("tomopt: ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == (["study.yaml"] if BAD[case] else [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", str(TINY), "--set", "seed"), "--set seed: has no '='"),
        (("plan", str(TINY), "--set", "seeds=1"), "seeds"),
        (("report", "tiny"), "there is no store"),
        (("evaluate", "mine.yaml", "--against", "tiny"), "there is no store"),
    ],
)
def test_other_mistakes_are_sentences_too(tomopt, tmp_path, words, said):
    code, _, err = tomopt(*words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_run_names_the_known_ones(tomopt, tmp_path):
    open_store(tmp_path / "store").append_run("ladle-01234567", {"event": "started"})
    code, _, err = tomopt("report", "tiny", "--store", str(tmp_path / "store"))
    assert code == 2
    assert "ladle-01234567" in err


def test_a_store_that_cannot_be_made_is_a_sentence(tomopt):
    code, _, err = tomopt("run", str(TINY), "--runner", "plain", "--store", "/dev/null/store")
    assert code == 2
    assert err.count("\n") == 1


def test_the_command_starts_without_torch_prefect_and_drawing():
    code = "import sys, tomopt_tasks.cli; print([m for m in sys.argv[1:] if m in sys.modules])"
    heavy = ["torch", "prefect", "matplotlib", "numpy", "zarr", "pint"]
    done = subprocess.run(
        [sys.executable, "-c", code, *heavy],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", str(TINY), "--device", "gpu"), "is no device; use cpu, cuda, cuda:1 or auto"),
        (("run", str(TINY), "--device", "cuda:99"), "here; use cpu, or auto"),
        (("run", str(TINY), "--gpu-memory", "a lot"), "use for example 8GB"),
        (("campaign", "run", "x.yaml", "--gpu-memory", "8"), "use for example 8GB"),
        (("predict", "x.npz", "--with", "y", "--device", "tpu"), "is no device"),
        (("evaluate", "x.yaml", "--against", "y", "--device", "tpu"), "is no device"),
    ],
    ids=["plan", "run", "memory", "campaign", "predict", "evaluate"],
)
def test_a_device_that_is_not_there_is_a_sentence(tomopt, tmp_path, monkeypatch, words, said):
    for name in ("TOMOPT_DEVICE", "TOMOPT_GPU_MEMORY"):
        monkeypatch.setenv(name, "")  # set back after the test, which sets them in this process
    code, out, err = tomopt(*words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
