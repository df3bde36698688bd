"""Parts of the user's own under the Prefect runner, and in the processes of a campaign."""

import pytest

from tests.pipeline.common import TINY
from tests.pipeline.test_own_families import ALL, MODULE
from tests.pipeline.test_prefect import tomopt
from tomopt_tasks.campaigns.plan import look_up_all, plan_campaign
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.own import TRUST, trust
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

LOSS = """
class MyLoss:
    "Distance to the power of an option."
    def __init__(self, power=2.0):
        self.power = power
    def __call__(self, pred, volume):
        return ((pred - volume.target).abs() ** self.power).mean()
"""
PARTS = [*(each for each in ALL if each[0] != "loss"), ("loss", "{kind: my_parts:MyLoss}")]
"""A scene, an inferrer, a loss and a callback, none of the package."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the parts that this process trusts, as ``--trust`` makes others do."""
    home = tmp_path / "parts"
    home.mkdir()
    (home / "my_parts.py").write_text(MODULE + LOSS)
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.setenv(TRUST, "")  # what a command inherits: nothing
    return home


def settings():
    return [word for place, text in PARTS for word in ("--set", f"{place}={text}")]


def test_the_prefect_runner_makes_the_bits_of_the_plain_one(folder, tmp_path):
    words = ["run", str(TINY), *settings(), "--trust", str(folder)]
    assert tomopt(tmp_path, *words, "--runner", "prefect")[-1].endswith("stages executed, 0 cached")
    trust([folder])
    study, plain = load_study(TINY, PARTS), open_store(tmp_path / "plain")
    with begin(study, plain) as run:
        run_all(run)
    theirs = open_store(tmp_path / "data" / "store")
    for stage in plan_study(study):
        found = theirs.find(stage.kind, stage.key)
        assert found is not None, stage.label
        assert found == plain.find(stage.kind, stage.key), stage.label


def test_two_processes_of_a_campaign_know_the_parts_that_the_command_trusts(folder, tmp_path):
    file = tmp_path / "c.yaml"
    changes = "".join(f'  "{place}": {text}\n' for place, text in PARTS)
    short = '  "fit.phases[0].epochs": 1\n  compare: [fit, baseline_1]\n'
    head = f"version: 1\ncampaign: c\nbase: {TINY}\nset:\n"
    file.write_text(f"{head}{short}{changes}axes:\n  seed: {{seeds: 2}}\n")
    tomopt(tmp_path, "campaign", "run", str(file), "--jobs", "2", "--trust", str(folder))
    trust([folder])
    plan = plan_campaign(load_campaign(file))
    made = look_up_all(plan, open_store(tmp_path / "data" / "store"))
    assert made.keys() == plan.stages.keys()
    labels = [stage.label for stage in plan.stages.values()]
    assert labels.count("evaluation") == 2
