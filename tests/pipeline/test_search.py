"""A search goes on where it was killed, gives up what is bad, and asks the test bank at the end."""

import os
from pathlib import Path
from statistics import median

import pytest
from typer.testing import CliRunner

from tests.pipeline.common import TINY, fake_bodies, objects
from tests.pipeline.test_campaign import NOBODY, at_once
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.campaigns import search as campaign_search
from tomopt_tasks.campaigns import trials
from tomopt_tasks.campaigns.run import crew_of
from tomopt_tasks.campaigns.search import look_up_search, run_search
from tomopt_tasks.campaigns.search_results import search_data
from tomopt_tasks.cli import app
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.reports.search_data import search_sentence
from tomopt_tasks.runs import body
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

SPACE = """\
  space:
    constraints.area: {range: [2 m2, 8 m2]}
    panels: {panels: [above, below], count: [2, 4]}
    loss.kind: [spread_range, volume_mse]
"""


SHORT = 'set: {"fit.phases[0].epochs": 1}'
"""Four epochs instead of five."""


def campaign(folder, search, space=SPACE, axes="axes: {seed: {seeds: 2}}", short=SHORT):
    file = Path(folder) / "c.yaml"
    head = f"version: 1\ncampaign: c\nbase: {TINY}\n{axes}\n{short}\n"
    file.write_text(f"{head}search:\n{search}{space}", encoding="utf-8")
    return load_campaign(file)


def area_error(plan, ref, store):
    """A known optimum: 4 m2, as many panels as can be."""
    study = plan.member.study
    area, n_panels = study.constraints.area, len(study.detectors["start"].panels)
    return {"state": "complete", "error": (area - 4.0) ** 2 + 1.0 / n_panels, "cost": area}


@pytest.fixture
def here(monkeypatch, fake_bodies):
    """Bodies without physics, in this process, and an error that is known."""
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    monkeypatch.setattr(campaign_search, "run_jobs", at_once)
    monkeypatch.setattr(trials, "_judge", area_error)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # no power is lost here
    return fake_bodies


def told(found):
    return [(trial.values, trial.state, trial.error, trial.key) for trial in found.trials]


@pytest.mark.parametrize(
    ("n_trials", "last"), [(5, 2), pytest.param(30, 11, marks=pytest.mark.long)]
)
def test_a_search_killed_at_a_trial_goes_on_at_the_next_one(tmp_path, here, n_trials, last):
    text = f"  trials: {n_trials}\n  together: 1\n  startup: 3\n  restarts: false\n"
    search = campaign(tmp_path, text, axes="")
    whole = run_search(search, open_store(tmp_path / "whole"), NOBODY)
    assert len(whole.ended) == n_trials
    dying = whole.trials[last - 1]

    store = open_store(tmp_path / "killed")
    good = here["predict"]

    def killed(store, key, inputs, parents):
        ref = good(store, key, inputs, parents)
        if key == dying.key:
            raise KeyboardInterrupt  # its result is stored, nothing else of it
        return ref

    here["predict"] = killed
    with pytest.raises(KeyboardInterrupt):
        run_search(search, store, NOBODY)
    here["predict"] = good
    half = look_up_search(search, store)
    assert [trial.number for trial in half.ended] == list(range(1, last + 1))
    assert told(half)[:last] == told(whole)[:last]

    before = len(body.executed)
    again = run_search(search, store, NOBODY)
    ran = set(body.executed[before:])
    first = {trial.key for trial in whole.trials[:last]}
    assert ran.isdisjoint(first)
    assert whole.trials[last].key in ran
    assert told(again) == told(whole)
    assert set(objects(store)) == set(objects(open_store(tmp_path / "whole")))
    assert run_search(search, store, NOBODY).executed == 0


def test_more_trials_go_on_where_fewer_ended(tmp_path, here):
    store = open_store(tmp_path / "store")
    few = run_search(campaign(tmp_path, "  trials: 2\n  restarts: false\n", axes=""), store, NOBODY)
    more = run_search(
        campaign(tmp_path, "  trials: 4\n  restarts: false\n", axes=""), store, NOBODY
    )
    assert told(more)[:2] == told(few)


def test_a_repeated_trial_is_a_hit(tmp_path, here):
    space = "  space: {loss.kind: [spread_range, volume_mse]}\n"
    search = campaign(tmp_path, "  trials: 6\n  together: 3\n  restarts: false\n", space)
    store = open_store(tmp_path / "store")
    found = run_search(search, store, NOBODY)
    keys = [trial.key for trial in found.trials]
    assert len(set(keys)) == 2
    # nothing was made a second time
    assert found.executed == len(objects(store))
    assert "4 repeats" in search_sentence(search_data_without_final(found, store))


def search_data_without_final(found, store):
    found.final = None
    return search_data(found, store)


def test_trials_that_do_badly_are_given_up_between_epochs(tmp_path, here):
    search = campaign(
        tmp_path,
        "  trials: 8\n  together: 2\n  startup: 8\n  restarts: false\n"
        "  prune: {after_trials: 2, after_epochs: 2, keep: 50 %}\n",
        "  space: {fit.seed: {integer: [1, 100]}}\n",
        axes="",
    )

    def loss_by_seed(store, key, inputs, parents):
        tree = {"parents": {role: ref.sha256 for role, ref in parents.items()}, "key": key}
        return store.put_record("checkpoint", key, tree, {"loss": float(inputs.seed)})

    here["fit_epoch"] = loss_by_seed
    store = open_store(tmp_path / "store")
    found = run_search(search, store, NOBODY)
    states = [trial.state for trial in found.trials]
    assert states[:2] == ["complete", "complete"]
    assert "pruned" in states
    complete = []
    for batch in (found.trials[i : i + 2] for i in range(0, 8, 2)):
        # by the losses (here: the seeds) of the complete trials of earlier batches only
        limit = median(complete) if complete else 101
        for trial in batch:
            assert (trial.state == "pruned") is (trial.values["fit.seed"] > limit)
            if trial.state == "pruned":
                assert len(trial.curve) == 2  # of four epochs
                assert trial.key not in objects(store)
        complete += [t.values["fit.seed"] for t in batch if t.state == "complete"]
    again = run_search(search, store, NOBODY)
    assert again.executed == 0
    assert told(again) == told(found)


def test_values_that_make_no_study_fail_alone(tmp_path, here):
    space = """\
  space:
    panels: {panels: [above], count: [2, 4]}
    heights: {points: {wide: {}, tight: {"detectors.start.groups.above.z": [1.48, 1.465]}}}
"""
    search = campaign(tmp_path, "  trials: 8\n  together: 4\n  restarts: false\n", space)
    found = run_search(search, open_store(tmp_path / "store"), NOBODY)
    bad = [trial for trial in found.trials if trial.state == "failed"]
    assert bad
    assert all(trial.values == {"panels": n, "heights": "tight"} for trial in bad
               for n in [trial.values["panels"]])  # fmt: skip
    assert all("gap" in trial.note or "apart" in trial.note for trial in bad)
    assert {trial.state for trial in found.trials} == {"failed", "complete"}


def test_a_trial_whose_stage_fails_is_reported_and_run_again(tmp_path, here):
    search = campaign(tmp_path, "  trials: 4\n  together: 2\n  restarts: false\n")
    store, good = open_store(tmp_path / "store"), here["predict"]
    seen = []

    def fails_first(store, key, inputs, parents):
        seen.append(key)
        if len(seen) == 1:
            raise UserError("no muon was accepted")
        return good(store, key, inputs, parents)

    here["predict"] = fails_first
    found = run_search(search, store, NOBODY)
    assert [trial.state for trial in found.trials].count("failed") == 1
    assert list(found.failures.values()) == ["no muon was accepted"]
    assert run_search(search, store, NOBODY).failures == {}


def test_the_gradient_alone_gets_as_many_muons(tmp_path, here):
    search = campaign(tmp_path, "  trials: 4\n", "  space: {'fit.phases[1].epochs': [2, 6]}\n")
    found = run_search(search, open_store(tmp_path / "store"), NOBODY)
    ours = sum(trial.muons for trial in found.trials)
    each = found.restarts[0].muons
    assert each == 4 * 4 * 60  # epochs, volumes, muons
    assert ours <= sum(trial.muons for trial in found.restarts) < ours + each
    assert [trial.number for trial in found.restarts] == list(range(1, len(found.restarts) + 1))


def test_the_best_trial_and_the_best_restart_are_compared_over_the_axes(tmp_path, here):
    search = campaign(tmp_path, "  trials: 3\n")
    found = run_search(search, open_store(tmp_path / "store"), NOBODY)
    best = min(found.trials, key=lambda trial: trial.error)
    names = [member.name for member in found.final.plan.members]
    assert names == [
        f"design={design},seed={seed}"
        for design in ("gradient alone", best.name)
        for seed in (1, 2)
    ]
    members = {member.name: member.member.study for member in found.final.plan.members}
    chosen = members[f"design={best.name},seed=2"]
    assert chosen.constraints.area == best.values["constraints.area"]
    assert (chosen.compare, chosen.fit.seed) == (("fit",), 2)
    assert "baseline_1" in members["design=gradient alone,seed=1"].compare


def test_two_objectives_end_in_a_front(tmp_path, here):
    search = campaign(
        tmp_path, "  trials: 6\n  objectives: [error, cost]\n  finalists: 3\n  restarts: false\n"
    )
    found = run_search(search, open_store(tmp_path / "store"), NOBODY)
    pairs = {trial.number: (trial.error, trial.cost) for trial in found.trials}
    front = [
        n for n, (e, c) in pairs.items()
        if not any(e2 <= e and c2 <= c and (e2, c2) != (e, c) for e2, c2 in pairs.values())
    ]  # fmt: skip
    assert found.front == front
    designs = {member.member.point["design"] for member in found.final.plan.members}
    ends = [min(front, key=lambda n: pairs[n][i]) for i in (0, 1)]
    assert {f"trial {n}" for n in ends} <= designs
    assert len(designs) <= 4


def test_a_search_without_a_complete_trial_says_why(tmp_path, here):
    def fails(store, key, inputs, parents):
        raise UserError("no muon was accepted")

    here["fit_epoch"] = fails
    search = campaign(tmp_path, "  trials: 2\n  restarts: false\n")
    with pytest.raises(UserError, match=r"none of the 2 trials .* no muon was accepted"):
        run_search(search, open_store(tmp_path / "store"), NOBODY)


def test_plan_and_status_say_how_far_a_search_is(tmp_path, here, monkeypatch):
    monkeypatch.chdir(tmp_path)
    campaign(tmp_path, "  trials: 4\n  together: 2\n  restarts: false\n")
    runner = CliRunner()
    planned = runner.invoke(app, ["campaign", "plan", "c.yaml", "--store", "store"]).stdout
    assert "trial 1 would run next: constraints.area" in planned
    assert "4 trials would run, then the gradient alone" in planned
    assert not Path("store").exists()
    run_search(load_campaign("c.yaml"), open_store("store"), NOBODY)
    status = runner.invoke(app, ["campaign", "status", "c.yaml", "--store", "store"]).stdout
    assert "4 of 4 trials: 4 complete" in status
    refused = runner.invoke(app, ["campaign", "commands", "c.yaml"])
    assert isinstance(refused.exception, UserError)
    assert "a search proposes a trial by how others ended" in str(refused.exception)


@pytest.mark.long
def test_a_real_search_is_the_same_side_by_side_and_its_report_says_what_it_was_worth(
    tmp_path, monkeypatch
):
    text = "  trials: 4\n  together: 2\n  startup: 2\n  prune: {after_trials: 1, after_epochs: 2}\n"
    search = campaign(tmp_path, text)
    store = open_store(tmp_path / "two")
    with crew_of(2) as crew:
        found = run_search(search, store, crew)
    assert found.failures == {}
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    monkeypatch.setattr(campaign_search, "run_jobs", at_once)
    alone = run_search(search, open_store(tmp_path / "one"), NOBODY)
    assert told(alone) == told(found)
    assert {k: r.sha256 for k, r in alone.final.refs.items()} == {
        k: r.sha256 for k, r in found.final.refs.items()
    }
    done = CliRunner().invoke(
        app, ["campaign", "report", str(tmp_path / "c.yaml"), "--store", str(tmp_path / "two")]
    )
    assert done.exit_code == 0
    sentence = search_sentence(search_data(found, store))
    assert "at equal muons" in done.stdout
    assert sentence in done.stdout
    page = next((tmp_path / "two" / "reports").glob("*/report.html")).read_text(encoding="utf-8")
    assert "What the search found" in page
    assert sentence[:60] in page
