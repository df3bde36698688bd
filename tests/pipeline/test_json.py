"""With --json a command prints one JSON document on stdout and nothing else, whatever it does."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from tests.pipeline.common import TINY, tiny
from tests.pipeline.test_campaign import at_once
from tomopt_tasks import cli
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.own import TRUST
from tomopt_tasks.planning.plan import KINDS, plan_study
from tomopt_tasks.reports.text import json_text
from tomopt_tasks.runs import body
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.runs.outputs import report_folder

LOSSES = """
class Good:
    def __call__(self, pred, volume):
        return ((pred - volume.target) ** 2).mean()

class Flat:
    def __call__(self, pred, volume):
        return pred.detach().sum()
"""
WITHOUT = {"schema", "up", "down"}
"""The first is JSON always; the others start and end servers."""


@pytest.fixture(autouse=True)
def _nothing_is_drawn(monkeypatch):
    """Pages have tests of their own, and take seconds."""
    monkeypatch.setattr("tomopt_tasks.reports.page.render_html", lambda data: "")
    monkeypatch.setattr("tomopt_tasks.reports.campaign_page.render_campaign", lambda data: "")
    pictures = "tomopt_tasks.reports.campaign_pictures.campaign_pictures"
    monkeypatch.setattr(pictures, lambda data, most: [("a.png", b"")])


@pytest.fixture
def call(monkeypatch, capfd):
    """Calls the command; exit code, what stdout holds as JSON, and stderr."""

    def called(*words: str):
        monkeypatch.setattr(sys, "argv", ["tomopt", *words, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capfd.readouterr()
        return ended.value.code or 0, json.loads(said.out) if said.out else None, said.err

    return called


def commands(group=None, before=()):
    group = group or typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*before, name))
        else:
            yield " ".join((*before, name)), command


def test_every_command_has_json():
    found = {
        name: any("--json" in option.opts for option in command.params)
        for name, command in commands()
    }
    assert {name for name, has in found.items() if not has} == WITHOUT


def test_run_and_report_give_the_numbers_the_verdict_and_the_files(store, call):
    evaluation = next(s.key for s in plan_study(tiny()) if s.name == "evaluate")
    tree = store.get_record(store.find("evaluation", evaluation))
    words = ("run", str(TINY), "--runner", "plain", "--store", store.url)
    code, data, err = call(*words, "--force", "nothing")
    assert (code, data) == (2, None)
    assert err.startswith("tomopt: ")
    code, data, _ = call(*words)
    assert code == 0
    assert (data["executed"], data["cached"]) == (0, 19)
    again = call("report", "tiny", "--store", store.url)[1]
    for said in (data, again):
        assert said["evaluation"]["designs"]["fit"]["mse"] == tree["designs"]["fit"]["mse"]
        assert said["run"] == find_run(store, "tiny")
        assert all(Path(path).exists() for path in (said["report"], *said["detector"]))
        assert said["verdict"].startswith("The optimised detector measures")
        assert said["older_code"] == []


def test_show_gives_the_study_that_it_prints(call):
    _, data, err = call("show", str(TINY), "--set", "seed=8")
    assert data == tiny(seed="8").model_dump(mode="json")
    assert err == ""


def test_evaluate_gives_ratios_in_full(store, call):
    file = report_folder(store, find_run(store, "tiny")) / "detector.yaml"
    _, data, _ = call("evaluate", str(file), "--against", "tiny", "--store", store.url)
    assert data["design"] == "detector"
    ratio = data["relative_mse"]["fit"]
    assert ratio["ratio"] == pytest.approx(1.0)
    assert ratio["low"] <= 1 <= ratio["high"]
    assert data["designs"]["detector"]["mse"] == pytest.approx(data["designs"]["fit"]["mse"])


def test_predict_gives_a_value_an_object(store, call, tmp_path):
    x0 = np.full((2, 10, 10, 10), 0.5)
    np.savez(tmp_path / "object.npz", x0=x0)
    words = ("predict", str(tmp_path / "object.npz"), "--with", "tiny", "--store", store.url)
    _, data, _ = call(*words, "--out", str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz") as written:
        assert data["values"] == written["prediction"].tolist()
    assert data["accepted"] > 0


def test_check_lists_the_laws_and_ends_with_the_code_of_a_broken_one(tmp_path, monkeypatch, call):
    monkeypatch.setenv(TRUST, "")
    (tmp_path / "my_module.py").write_text(LOSSES)
    words = ("check", "--trust", str(tmp_path))
    code, data, _ = call(*words, "my_module:Good")
    assert (code, {law["holds"] for law in data["laws"]}) == (0, {True})
    code, data, _ = call(*words, "my_module:Flat")
    assert code == 2
    assert "does not depend on the prediction" in " ".join(law["why"] for law in data["laws"])


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """The stored study and itself with more draws: next to nothing has to run."""
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    file = tmp_path / "c.yaml"
    axes = "axes: {evaluation.bootstrap: [100, 120]}\njudge: {apart: [evaluation.bootstrap]}\n"
    file.write_text(f"version: 1\ncampaign: c\nbase: {TINY}\n{axes}", encoding="utf-8")
    return str(file)


def test_the_commands_of_a_campaign_give_members_tables_and_files(store, call, campaign):
    where = (campaign, "--store", store.url)
    _, plan, _ = call("campaign", "plan", *where)
    members = ["evaluation.bootstrap=100", "evaluation.bootstrap=120"]
    assert [each["member"] for each in plan["members"]] == members
    assert [each["would_run"] for each in plan["members"]] == [0, 1]
    assert (plan["run"], plan["cached"]) == (1, 19)
    assert set(plan["comparisons"]) == {"100", "120"}
    _, status, _ = call("campaign", "status", *where)
    assert status["states"] == {"done": 1, "waiting": 1}
    _, lines, err = call("campaign", "commands", *where)
    assert list(lines["members"]) == members
    assert err.count("\n") == 2
    code, part, _ = call("campaign", "run", *where, "--shared")
    assert (code, part) == (0, {"executed": 0, "failures": {}})
    code, done, err = call("campaign", "run", *where)
    assert (code, done["executed"], done["comparisons"]) == (0, 1, 2)
    assert "[1/1] evaluation.bootstrap=120: done" in err
    again = call("campaign", "report", *where)[1]
    assert [table["rows"] for table in again["tables"]] == [t["rows"] for t in done["tables"]]
    assert {row["entry"] for row in done["tables"][0]["rows"]} == {"start", "fit", "baseline_1"}
    files = (done["report"], done["table"], *done["detectors"], *done["pictures"])
    assert all(Path(path).exists() for path in files)


def test_a_member_that_fails_is_in_the_json_of_a_campaign_that_ends_with_code_1(
    store, call, campaign, monkeypatch
):
    def breaks(*_: object):
        raise ArithmeticError("no draw")

    bodies = dict.fromkeys(KINDS, breaks)
    monkeypatch.setattr(body, "bodies", lambda: bodies)
    code, data, err = call("campaign", "run", campaign, "--store", store.url)
    assert code == 1
    assert list(data["failures"]) == ["evaluation.bootstrap=120"]
    assert data["missing"] == {"evaluation.bootstrap=120": "no draw"}
    assert "1 job did not finish" in err


def test_what_json_has_no_number_for_is_null():
    assert json.loads(json_text({"a": (float("nan"), float("inf"), 1, 0.5)})) == {
        "a": [None, None, 1, 0.5]
    }
