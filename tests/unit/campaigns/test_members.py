"""A campaign file becomes studies, or one sentence that names the place."""

from pathlib import Path

import pytest

from tomopt_tasks.config.campaign import Campaign
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError

TINY = Path(__file__).parents[2] / "pipeline" / "tiny.yaml"
HEAD = "version: 1\ncampaign: test\nbase: tiny.yaml\n"
TWO = "axes:\n  loss.kind: [spread_range, volume_mse]\n  seed: {seeds: 3}\n"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY.read_text(), encoding="utf-8")


def load(text, overrides=()):
    Path("c.yaml").write_text(HEAD + text, encoding="utf-8")
    return load_campaign("c.yaml", overrides)


def names(text):
    return [member.name for member in load(text).members]


def message(text, overrides=()):
    with pytest.raises(UserError) as caught:
        load(text, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_members_are_all_combinations_in_the_order_of_the_axes():
    assert names(TWO) == [
        f"loss.kind={kind},seed={seed}"
        for kind in ("spread_range", "volume_mse")
        for seed in (1, 2, 3)
    ]


def test_every_member_is_the_base_with_its_own_changes():
    member = load(TWO + "set: {muons.per_volume: 50}\n").members[-1]
    study = member.study
    assert (study.loss.kind, study.fit.seed, study.muons.per_volume) == ("volume_mse", 3, 50)
    assert study.study == "test.volume_mse-3"


def test_a_seed_changes_the_fit_and_its_muons_but_not_what_designs_are_judged_on():
    for member, seed in zip(load("axes: {s: {seeds: [5, 7]}}\n").members, (5, 7), strict=True):
        assert (member.study.fit.seed, member.study.muons.train_seed) == (seed, seed)
        assert (member.study.muons.seed, member.study.scenes.seed) == (3, 3)
        assert member.study.evaluation.seed == 3


def test_axes_that_go_together_make_pairs():
    text = "axes:\n  loss.kind: [spread_range, volume_mse]\n  seed: {seeds: 2}\n"
    assert names(text + "zip: [[loss.kind, seed]]\n") == [
        "loss.kind=spread_range,seed=1",
        "loss.kind=volume_mse,seed=2",
    ]


def test_only_and_exclude_choose_members():
    kept = names(TWO + "only: [{seed: [1, 2]}]\nexclude: [{seed: 2, loss.kind: volume_mse}]\n")
    assert kept == [
        "loss.kind=spread_range,seed=1",
        "loss.kind=spread_range,seed=2",
        "loss.kind=volume_mse,seed=1",
    ]


def test_a_point_may_start_from_another_study():
    Path("other.yaml").write_text("extends: tiny.yaml\nstudy: other\nmuons: {per_volume: 40}\n")
    members = load("axes: {p: {points: {a: {}, b: {base: other.yaml, seed: 9}}}}\n").members
    assert [member.study.muons.per_volume for member in members] == [60, 40]
    assert [member.study.seed for member in members] == [3, 9]


def test_one_value_may_be_set_at_several_places():
    text = "axes: {n: {setting: ['fit.phases[0].epochs', 'fit.phases[1].epochs'], values: [1, 3]}}"
    epochs = [[phase.epochs for phase in m.study.fit.phases] for m in load(text).members]
    assert epochs == [[1, 1], [3, 3]]


def test_random_starts_fit_into_their_zones_and_differ():
    members = load("axes: {start: {starts: 8, seed: 4}}\n").members
    starts = [member.study.detectors["start"] for member in members]  # loading checked them
    assert len({start.panels[0].xy for start in starts}) == 8
    for start in starts:
        assert start.cost == pytest.approx(6.0)
        assert len({panel.xy for panel in start.layers[0].panels}) == 1
    again = load("axes: {start: {starts: 8, seed: 4}}\n").members
    assert [member.study for member in again] == [member.study for member in members]
    other = load("axes: {start: {starts: 8, seed: 5}}\n").members
    assert other[0].study.detectors["start"] != starts[0]


def test_the_file_itself_can_be_changed_from_outside():
    campaign = load(TWO, [("axes.seed.seeds", "1"), ('set["muons.per_volume"]', "30")])
    assert len(campaign.members) == 2
    assert {member.study.muons.per_volume for member in campaign.members} == {30}


def test_settings_survive_a_round_trip_through_json():
    text = TWO + "  p: {points: {a: {seed: 1}}}\n  start: {starts: 2}\n"
    settings = load(text).settings
    assert Campaign.model_validate_json(settings.model_dump_json()) == settings


BAD = [
    ("axes: {seed: {seeds: 0}}", "axes.seed.seeds: got 0, but it must be >= 1; change it"),
    ("axes: {seed: {seeds: [1, -1]}}", "axes.seed.seeds[1]: got -1, but it must be >= 0"),
    ("axes: {seed: {seeds: 2, see: 1}}", 'axes.seed.see: unknown key; did you mean "seeds"?'),
    ("axes: {}", "axes: nothing varies; write an axis, or a search"),
    ("axes: {loss.kind: [spread]}",
     'axes["loss.kind"][0]: loss.kind: got "spread", but it must be'),
    ("axes: {fit.sede: [1]}",
     'axes["fit.sede"][0]: fit.sede: unknown key; did you mean "seed"?'),
    ("axes: {seed: [1, 1]}", "axes.seed.values[1]: got 1 a second time, but points differ"),
    ("axes: {a: {setting: seed, values: [1]}, b: {setting: seed, values: [2]}}",
     "axes.b: changes seed, which axis a changes too; put both into one axis of points"),
    ("axes: {seed: {seeds: 2}}\nset: {muons.per_volume: none}",
     'set["muons.per_volume"]: muons.per_volume: got "none", but a whole number is needed'),
    ("axes: {seed: {seeds: 2}}\nset: {muons..x: 1}",
     'set["muons..x"]: not a place in a study file; write for example fit.phases[1].epochs'),
    ("axes: {seed: {seeds: 2}}\nbase: tinny.yaml",
     'base: no such file: tinny.yaml; did you mean "tiny.yaml"?'),
    ("axes: {seed: {seeds: 2}}\nexclude: [{sed: 1}]",
     'exclude[0].sed: there is no such axis; did you mean "seed"?'),
    ("axes: {seed: {seeds: 2}}\nonly: [{seed: 7}]", "only[0].seed: axis seed has no point 7"),
    ("axes: {seed: {seeds: 2}}\nexclude: [{seed: [1, 2]}]",
     "exclude: no member is left; leave out fewer"),
    ("axes: {seed: {seeds: 2}, n: {setting: report.title, values: [a, b, c]}}\nzip: [[seed, n]]",
     "zip[0]: axes that go together need equally many points: seed 2, n 3"),
    ("axes: {seed: {seeds: 2}}\njudge: {apart: [sed]}",
     'judge.apart[0]: there is no axis sed; did you mean "seed"?'),
    ("axes: {seed: {seeds: 2}}\njudge: {apart: [seed], pool: [seed]}",
     "judge.apart[0]: axis seed is pooled too; name it in one of the two"),
    ("axes: {seed: {seeds: 2}}\njudge: {goals: {policy: {ratio: 0.7}}}",
     'judge.goals.policy: there is no such comparison; write "" for the only one'),
    ("axes: {seed: {seeds: 2}}\njudge: {goals: {'': {ratio: -1}}}",
     'judge.goals[""].ratio: got -1, but it must be > 0'),
    ("axes: {detectors.start.groups.above.z: [[1.2, 1.5, 1.6]]}",
     "detectors.start.groups.above.z[0]: got 1.2 m, which lies inside"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "says"), BAD, ids=[says[:40] for _, says in BAD])
def test_a_bad_campaign_ends_in_one_sentence_with_file_and_line(text, says):
    head = HEAD.replace("base: tiny.yaml\n", "") if "base:" in text else HEAD
    Path("c.yaml").write_text(head + text + "\n", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_campaign("c.yaml")
    said = str(caught.value)
    assert says in said
    assert "c.yaml, line " in said
    assert "\n" not in said


def test_nothing_runs_when_one_member_is_wrong():
    said = message("axes: {muons.per_volume: [60, 10]}\nset: {evaluation.exposures: [5, 20]}\n")
    assert "evaluation.exposures[1]: got 20 muons, but a volume sees 10" in said
