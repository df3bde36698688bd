"""A campaign makes what its members share once, survives a failing one and reruns nothing."""

import shlex
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.pipeline.common import TINY, fake_bodies, objects
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.campaigns.plan import look_up_all, plan_campaign
from tomopt_tasks.campaigns.results import results_of_campaign
from tomopt_tasks.campaigns.run import crew_of, jobs_of, run_campaign
from tomopt_tasks.campaigns.slots import UNHEARD, Outcome, Slots
from tomopt_tasks.campaigns.state import Times, member_states
from tomopt_tasks.campaigns.tables import make_tables
from tomopt_tasks.cli import app
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.reports.campaign_page import render_campaign
from tomopt_tasks.runs import body
from tomopt_tasks.runs.manifest import last_made
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

AXES = """\
axes:
  detector: {points: {a: {}, b: {"detectors.start.groups.above.z[0]": 1.7}}}
  constraints.area: [4 m2, 6 m2]
  seed: {seeds: 2}
judge: {apart: [constraints.area]}
"""


NOBODY = Slots(1, None)  # starts a process with its first job, and gets none here


def planned(folder, text=AXES):
    file = Path(folder) / "c.yaml"
    file.write_text(f"version: 1\ncampaign: c\nbase: {TINY}\n{text}", encoding="utf-8")
    return plan_campaign(load_campaign(file))


def at_once(jobs, crew, heard=UNHEARD):
    """The jobs here, one after the other: processes would not see the bodies of a test."""
    ended = {}
    for job in jobs:
        bad = [name for name in job.after if name in ended and ended[name].state != "done"]
        if bad:
            ended[job.name] = Outcome(job.name, "blocked", f"needs {bad[0]}")
        else:
            heard.began(job)
            result = job.call(*job.arguments)
            error = result.pop("error", "")
            ended[job.name] = Outcome(job.name, "failed" if error else "done", error, result)
        yield ended[job.name]


@pytest.fixture
def here(monkeypatch, fake_bodies):
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    return fake_bodies


def test_banks_are_planned_once_for_equal_scenes_and_seeds(tmp_path):
    plan = planned(tmp_path)
    assert len(plan.members) == 8
    counts = Counter(stage.label for stage in plan.stages.values())
    assert counts["train bank"] == 2  # one a seed
    assert (counts["valid bank"], counts["test bank"], counts["test volumes"]) == (1, 1, 1)
    assert counts["baseline_1 on test"] == 2  # one an area
    assert counts["start on test"] == 4
    assert counts["fit on test"] == 8


def test_every_stage_runs_once_and_a_second_run_runs_nothing(tmp_path, here):
    plan, store = planned(tmp_path), open_store(tmp_path / "store")
    done = run_campaign(plan, store, NOBODY)
    assert done.failures == {}
    assert done.executed == len(plan.stages) == len(objects(store))
    again = run_campaign(plan, store, NOBODY)
    assert (again.executed, again.outcomes) == (0, {})
    assert {each.state for each in member_states(plan, again.refs, store)} == {"done"}


def test_what_is_lost_is_made_again_and_nothing_else(tmp_path, here):
    plan, store = planned(tmp_path), open_store(tmp_path / "store")
    run_campaign(plan, store, NOBODY)
    bank = next(key for key, stage in plan.shared.items() if stage.label == "test bank")
    objects(store)[bank].unlink()
    again = run_campaign(plan, open_store(tmp_path / "store"), NOBODY)
    assert list(again.outcomes) == [f"test bank ({bank[:8]})"]
    assert again.executed == 1


def test_a_member_that_fails_stops_no_other_and_goes_on_later(tmp_path, here):
    plan, store = planned(tmp_path), open_store(tmp_path / "store")
    good = here["fit_epoch"]

    def fails_for_one(store, key, inputs, parents):
        if inputs.seed == 2 and inputs.epoch == 3:
            raise UserError("no muon was accepted")
        return good(store, key, inputs, parents)

    here["fit_epoch"] = fails_for_one
    done = run_campaign(plan, store, NOBODY)
    assert set(done.failures) == {each.name for each in plan.members if "seed=2" in each.name}
    assert set(done.failures.values()) == {"no muon was accepted"}
    states = {each.plan.name: each for each in member_states(plan, done.refs, store)}
    assert {name for name, each in states.items() if each.done} == set(states) - set(done.failures)
    failed = next(states[name] for name in done.failures)
    assert (failed.state, failed.note) == ("failed", "no muon was accepted")
    assert failed.epochs == (3, 5)
    here["fit_epoch"] = good
    again = run_campaign(plan, store, NOBODY)
    assert again.failures == {}
    assert again.executed == 4 * (2 + 2 + 1)  # two epochs, two predictions and the evaluation


def test_a_bug_in_one_member_is_told_with_its_place(tmp_path, here):
    plan, store = planned(tmp_path), open_store(tmp_path / "store")

    def buggy(store, key, inputs, parents):
        raise ZeroDivisionError("division by zero")

    here["evaluate"] = buggy
    done = run_campaign(plan, store, NOBODY)
    assert len(done.failures) == 8
    why = next(iter(done.failures.values()))
    assert why.startswith("ZeroDivisionError: division by zero (test_campaign.py, line ")


def test_members_need_a_shared_stage_that_failed_no_more(tmp_path, here):
    plan, store = planned(tmp_path), open_store(tmp_path / "store")
    good = here["transport_muons"]

    def fails_on_test(store, key, inputs, parents):
        if inputs.split == "test":
            raise UserError("the disk is full")
        return good(store, key, inputs, parents)

    here["transport_muons"] = fails_on_test
    done = run_campaign(plan, store, NOBODY)
    assert all(each.name in done.failures for each in plan.members)
    assert done.failures[plan.members[0].name].startswith("needs ")


def test_shared_stages_can_be_made_before_the_members(tmp_path, here):
    plan, store = planned(tmp_path), open_store(tmp_path / "store")
    done = run_campaign(plan, store, NOBODY, shared_only=True)
    assert done.executed == len(plan.shared)
    one = plan.needed([plan.members[0].name])
    assert {job.name for job in jobs_of(one, done.refs, store.url)} == {plan.members[0].name}


def test_epochs_that_members_share_are_one_job(tmp_path, here):
    text = "axes: {'fit.phases[1].epochs': [1, 2], loss.kind: [spread_range, volume_mse]}\n"
    plan, store = planned(tmp_path, text), open_store(tmp_path / "store")
    done = run_campaign(plan, store, NOBODY)
    epochs = [name.partition(" (")[0] for name in done.outcomes if "epoch" in name]
    members = [each.name for each in plan.members]
    assert [name for name in epochs if name not in members] == [
        f"loss.kind={loss}: coarse search 1 to fine epoch 1"
        for loss in ("spread_range", "volume_mse")
    ]
    assert done.executed == len(plan.stages)
    lengths = {name: each.result["executed"] for name, each in done.outcomes.items()}
    assert {lengths[name] for name in members if "epochs=1" in name} == {3}
    assert {lengths[name] for name in members if "epochs=2" in name} == {4}


def test_members_judged_on_other_banks_are_not_compared(tmp_path):
    plan = planned(tmp_path, "axes: {muons.per_volume: [60, 40]}\n")
    expected = (
        "judge.apart: members muons.per_volume=60 and muons.per_volume=40 would be compared, but "
        "have other test objects or muons; put muons.per_volume into judge.apart"
    )
    with pytest.raises(UserError) as caught:
        make_tables(plan)
    assert str(caught.value).startswith(expected)


def test_equal_designs_come_once_and_what_varies_is_named(tmp_path):
    tables = make_tables(planned(tmp_path))
    assert [table.label for table in tables] == ["4 m2", "6 m2"]
    entries = {entry.name: entry for entry in tables[0].inputs.entries}
    assert list(entries) == ["start a", "start b", "fit a", "fit b", "baseline_1"]
    assert entries["fit a"].repeats == ("1", "2")
    assert entries["baseline_1"].repeats == ("-",)
    assert [name for name, entry in entries.items() if entry.baseline] == ["baseline_1"]


def test_commands_of_all_members_make_the_campaign(tmp_path, here, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan, runner = planned(tmp_path), CliRunner()
    printed = runner.invoke(app, ["campaign", "commands", "c.yaml", "--store", "store"])
    lines = [line for line in printed.stdout.splitlines() if not line.startswith("#")]
    assert len(lines) == len(plan.members)
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "tomopt"
        assert runner.invoke(app, words[1:]).exit_code == 0
    refs = look_up_all(plan, open_store("store"))
    assert set(refs) == set(plan.stages)


def test_an_unknown_member_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned(tmp_path)
    done = CliRunner().invoke(app, ["campaign", "run", "c.yaml", "--member", "seed=9"])
    assert isinstance(done.exception, UserError)
    assert str(done.exception).startswith("--member seed=9: there is no such member")


def test_the_time_of_a_fit_is_known_wherever_its_epochs_ran(tmp_path, here, monkeypatch):
    text = "axes: {'fit.phases[1].epochs': [1, 2], seed: {seeds: 2}}\n"
    plan, store = planned(tmp_path, text), open_store(tmp_path / "store")
    run_campaign(plan, store, NOBODY)
    for key, stage in plan.stages.items():  # the longer fit goes on with the shorter one's epochs
        monkeypatch.setitem(body.seconds, key, 100.0 if stage.name == "fit_epoch" else 1e6)
    refs = look_up_all(plan, store)
    times = {each.name: Times(store, plan.run).fit(each, refs) for each in plan.members}
    assert all(0 < seconds < 60 for seconds in times.values())  # as written down, not as of now
    epochs = {key for key, stage in plan.stages.items() if stage.name == "fit_epoch"}
    noted = took(store, plan.run) | {
        key: made["seconds"]
        for each in plan.members
        for key, made in last_made(store.read_run(each.run)).items()
    }
    assert epochs <= noted.keys()
    for each in plan.members:
        keys = [stage.key for stage in each.stages if stage.name == "fit_epoch"]
        assert times[each.name] == pytest.approx(sum(noted[key] for key in keys))
    first = plan.members[0]
    assert Times(store, "nobody-knows-it").fit(first, refs) == times[first.name]
    empty = open_store(tmp_path / "empty")
    assert Times(empty, plan.run).fit(first, refs) is None


def took(store, run):
    jobs = [job for entry in store.read_run(run) for job in entry.get("jobs", {}).values()]
    return {key: seconds for job in jobs for key, seconds in job.get("took", {}).items()}


@pytest.mark.slow
def test_processes_make_the_same_results_as_one_and_the_report_shows_them(tmp_path):
    text = "axes: {loss.kind: [spread_range, expected_mse], seed: {seeds: 2}}\n"
    plan = planned(tmp_path, text)
    side_by_side = open_store(tmp_path / "two")
    with crew_of(2) as crew:
        done = run_campaign(plan, side_by_side, crew)
    assert done.failures == {}
    assert done.executed == len(plan.stages)
    data, made = results_of_campaign(plan, side_by_side, done.refs)
    assert made == 1
    assert results_of_campaign(plan, side_by_side, done.refs)[1] == 0

    alone = open_store(tmp_path / "one")
    monkey = pytest.MonkeyPatch()
    monkey.setattr(campaign_run, "run_jobs", at_once)
    other = run_campaign(plan, alone, NOBODY)
    monkey.undo()
    assert {key: ref.sha256 for key, ref in done.refs.items()} == {
        key: ref.sha256 for key, ref in other.refs.items()
    }

    page = render_campaign(data)
    assert page == render_campaign(data)
    assert "http" not in page.replace("http://www.w3.org", "")
    for words in ("optimised, spread_range, all 2", "Leaderboard", "c.csv", "Training loss"):
        assert words in page
    entries = data.tables[0].record["entries"]
    assert len(entries["fit expected_mse"]["repeats"]) == 2
