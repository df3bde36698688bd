"""The campaigns of the repository are valid, and compare what their first lines say."""

from pathlib import Path

import pytest

from tomopt_tasks.campaigns.plan import plan_campaign
from tomopt_tasks.campaigns.tables import make_tables
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.config.trials import probe, trial_member

FOLDER = Path(__file__).parents[3] / "data" / "campaigns"
FILES = sorted(FOLDER.glob("*.yaml"))


def tables(name):
    """Two seeds or starts are as good as all to see what is compared."""
    axes = {"headline": "seed.seeds", "reality": "seed.seeds", "starts": "start.starts"}
    change = [(f"axes.{axes[name]}", "2")] if name in axes else []
    return make_tables(plan_campaign(load_campaign(FOLDER / f"ladle_{name}.yaml", change)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_campaign_says_what_it_asks_and_is_valid(file):
    assert file.read_text(encoding="utf-8").startswith("# ")
    campaign = load_campaign(file)
    assert campaign.settings.title
    assert len({member.name for member in campaign.members}) == len(campaign.members)
    if campaign.settings.search is not None:
        probe(campaign)


def test_all_classes_of_the_hybrid_search_cost_the_same():
    campaign = load_campaign(FOLDER / "ladle_hybrid.yaml")
    space = campaign.settings.search.space
    first = {name: entry.probes[0] for name, entry in space.items()}
    for name in space["resolution"].points:
        study = trial_member(campaign, "trial 1", {**first, "resolution": name}).study
        assert study.detectors["start"].budget == pytest.approx(6.0)
    base = campaign.members[0].study
    assert base.detectors["start"].budget == pytest.approx(6.0)
    assert len(base.detectors["start"].panels) == 8


def test_the_headline_keeps_policies_and_banks_apart_and_judges_on_800_ladles_and_1600_others():
    found = tables("headline")
    policies, volumes = ("two_each_side", "all_panels"), {"first": 800, "second": 1600}
    assert [table.label for table in found] == [f"{p}, {b}" for p in policies for b in volumes]
    for table in found:
        policy, _, bank = table.label.partition(", ")
        names = [entry.name for entry in table.inputs.entries]
        assert names == ["start", "fit", "baseline_1", "baseline_2"]
        study = table.plans[0].member.study
        assert study.inference.acceptance == policy
        assert study.scenes.test.n_volumes == volumes[bank]
    roles = ("test/baseline_1/-", "valid/baseline_2/-")
    assert all(found[0].parents[role] != found[2].parents[role] for role in roles)


def test_both_banks_of_the_headline_judge_the_same_fits_with_the_same_calibration():
    plan = plan_campaign(load_campaign(FOLDER / "ladle_headline.yaml", [("axes.seed.seeds", "1")]))
    keys = {each.name: {stage.label: stage.key for stage in each.stages} for each in plan.members}
    for policy in ("two_each_side", "all_panels"):
        first, second = (keys[f"policy={policy},bank={b},seed=1"] for b in ("first", "second"))
        other = {label for label in first if first[label] != second[label]}
        assert "fine epoch 50" in first
        assert {label for label in other if "test" not in label} == {"evaluation"}
        assert {"test bank", "fit on test", "baseline_2 on test"} <= other


def test_fits_of_the_headline_see_ten_sets_of_training_muons():
    members = load_campaign(FOLDER / "ladle_headline.yaml").members
    assert len(members) == 40
    assert len({member.study.muons.train_seed for member in members}) == 10
    assert len({member.study.muons.seed for member in members}) == 1


def test_every_case_of_reality_has_the_tuned_human_design_and_one_of_two_panels_a_side():
    for table in tables("reality"):
        baselines = [entry.name for entry in table.inputs.entries if entry.baseline]
        assert baselines == ["baseline_1", "baseline_2", "baseline_tuned", "baseline_two"]


def test_designs_of_two_and_four_panels_share_a_table():
    (table,) = tables("panels")
    names = [entry.name for entry in table.inputs.entries]
    assert names[:2] == ["fit 4 and 4", "fit 2 and 2"]
    areas = [each.member.study.detectors["start"].area for each in table.plans]
    assert areas == pytest.approx([6.0] * 6)


def test_the_grid_of_human_designs_never_sees_the_test_bank_of_the_others():
    (human,), (panels,) = tables("human"), tables("panels")
    banks = [{s.key for s in t.plans[0].stages if s.kind == "bank"} for t in (human, panels)]
    assert banks[0].isdisjoint(banks[1])


def test_one_fit_and_four_begin_at_the_same_twenty_detectors_and_the_other_three_differ():
    (table,) = tables("starts")
    assert [entry.name for entry in table.inputs.entries][:2] == ["fit one", "fit best of four"]
    studies = {each.name: each.member.study for each in table.plans}
    for n in (1, 2):
        one, four = studies[f"fits=one,start={n}"], studies[f"fits=best of four,start={n}"]
        assert one.detectors["start"] == four.detectors["start"]
        assert one.fit.multi_start is None
        assert four.fit.multi_start.seed == n
