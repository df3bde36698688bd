"""A campaign that is half done when the code changes: its plan says so, and it can go on."""

import pytest

from tests.pipeline.common import TINY
from tests.pipeline.test_accept import FILE, edit_loop, upgraded
from tests.pipeline.test_campaign import at_once
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.campaigns.doing import Part, carry_out, look_up, planned, standing
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.reasons import HINT
from tomopt_tasks.runs.manifest import find_run

__all__ = ["upgraded"]

ACCEPT = Part(accept_code=True)
CALLBACK = "tomopt_tasks/callbacks/detector.py"
LIMITER = "class PanelUpdateLimiter(Callback):\n"
DESIGNS = {"start", "fit", "baseline_1"}


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """One member is the stored study; of the other one all but the evaluation is there."""
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    drawn = "tomopt_tasks.reports.campaign_pictures.campaign_pictures"
    monkeypatch.setattr(drawn, lambda data, most: [])
    monkeypatch.setattr("tomopt_tasks.reports.campaign_page.render_campaign", lambda data: "")
    file = tmp_path / "c.yaml"
    axes = "axes: {evaluation.bootstrap: [100, 120]}\njudge: {apart: [evaluation.bootstrap]}\n"
    file.write_text(f"version: 1\ncampaign: c\nbase: {TINY}\n{axes}", encoding="utf-8")
    return load_campaign(file)


def test_the_plan_names_the_file_that_the_misses_lie_with(store, campaign, upgraded):
    before = planned(campaign, store)
    assert before.data["run"] == 1
    edit_loop(upgraded)
    after = planned(campaign, store)
    assert after.data["run"] == 13  # all but volumes, banks and the start; evaluations twice
    assert after.data["reasons"][f"code: {FILE}"] == 5 + 6  # epochs and predictions
    said = "\n".join(after.lines)
    assert f"6 predict, 5 fit_epoch: code: {FILE}" in said
    assert "evaluate: they follow these" in said
    assert HINT in said
    assert HINT not in "\n".join(before.lines)
    assert before.data["older_code"] == after.data["older_code"] == 0


@pytest.mark.parametrize(
    ("edit", "marked"),
    [
        ((FILE, "fit.n_skipped += 1", "fit.n_skipped = fit.n_skipped + 1"), DESIGNS),
        ((CALLBACK, LIMITER, f"{LIMITER}    version = 2\n"), {"fit"}),
    ],
)
def test_it_goes_on_with_results_of_older_code_which_every_table_marks(
    store, campaign, upgraded, edit, marked
):
    upgraded(*edit)
    plan = planned(campaign, store, ACCEPT)
    assert plan.data["run"] == 1
    assert plan.data["older_code"] > 0
    assert plan.lines[-1].endswith(f"of older code are taken; changed since: {edit[0]}")
    done = carry_out(campaign, store, 1, part=ACCEPT)
    assert (done.failures, done.executed) == ({}, 1)
    assert standing(campaign, store, ACCEPT).data["states"] == {"done": 2}
    for said in (done.answer(), look_up(campaign, store, ACCEPT).answer()):
        assert [set(table["older_code"]) for table in said.data["tables"]] == [marked] * 2
        text = "\n".join(said.lines)
        assert all((f"{name} †" in text) == (design in marked) for name, design in (
            ("initial", "start"), ("optimised", "fit"), ("baseline 1", "baseline_1")
        ))  # fmt: skip
    member = store.read_run(find_run(store, "c.120"))[0]
    assert "fine epoch 2" in member["accepted"]
    assert look_up(campaign, store).answer().data["tables"] == []  # nothing of the new code alone


def test_a_search_does_not_mix_codes(store, tmp_path):
    search = "search: {trials: 2, space: {panels: {panels: [above, below], count: [2, 3]}}}\n"
    (tmp_path / "s.yaml").write_text(f"version: 1\ncampaign: s\nbase: {TINY}\n{search}")
    found = load_campaign(tmp_path / "s.yaml")
    with pytest.raises(UserError, match="--accept-code-changes: a search proposes by"):
        planned(found, store, ACCEPT)
