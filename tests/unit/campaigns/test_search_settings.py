"""A search file becomes a space of studies, or one sentence that names the place."""

from pathlib import Path

import pytest

from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.config.search import Search
from tomopt_tasks.config.trials import probe, restart_members, trial_member
from tomopt_tasks.core import UserError

TINY = Path(__file__).parents[2] / "pipeline" / "tiny.yaml"
SPACE = """\
    constraints.area: {range: [2 m2, 80000 cm2], log: true}
    sigma: {setting: detectors.start.panel.sigma, range: [0.1 mm, 1 mm]}
    loss.kind: [spread_range, volume_mse]
    length: {setting: "fit.phases[1].epochs", integer: [1, 3]}
    panels: {panels: [above, below], count: [2, 4]}
    layout:
      points:
        corner: {}
        wide: {"detectors.start.groups.above.z": [1.75, 1.42]}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY.read_text(encoding="utf-8"), encoding="utf-8")


def load(space=SPACE, more="", axes="axes: {seed: {seeds: [7, 8]}}"):
    head = "version: 1\ncampaign: test\nbase: tiny.yaml\n"
    text = f"{head}{axes}\nsearch:\n  trials: 4\n{more}  space:\n{space}"
    Path("c.yaml").write_text(text, encoding="utf-8")
    return load_campaign("c.yaml")


VALUES = {
    "constraints.area": 5.0,
    "sigma": 5e-4,
    "loss.kind": "volume_mse",
    "length": 3,
    "panels": 3,
    "layout": "wide",
}


def test_a_trial_is_the_base_with_what_was_chosen_at_the_first_point_of_every_axis():
    member = trial_member(load(), "trial 9", VALUES)
    study = member.study
    start = study.detectors["start"]
    assert (member.name, study.study) == ("trial 9", "test.trial-9-7")
    assert (study.constraints.area, study.loss.kind) == (5.0, "volume_mse")
    assert (study.fit.phases[1].epochs, study.fit.seed) == (3, 7)
    assert {panel.resolution for panel in start.panels} == {2000.0}
    heights = [[panel.z for panel in layer.panels] for layer in start.layers]
    # three between the first and last of the layout, and of the base where it says nothing
    assert heights == [[1.75, 1.585, 1.42], [0.35, 0.33, 0.31]]


def test_bounds_are_read_with_their_units():
    space = load().settings.search.space
    assert space["constraints.area"].bounds == (2.0, 8.0)
    assert space["sigma"].bounds == (1e-4, 1e-3)


def test_the_gradient_alone_starts_from_the_base_then_from_random_detectors():
    members = restart_members(load(), 3)
    starts = [member.study.detectors["start"] for member in members]
    assert starts[0] == load().members[0].study.detectors["start"]
    assert len({start.model_dump_json() for start in starts}) == 3
    assert {member.study.fit.seed for member in members} == {7}


BAD = [
    (
        "    constraints.area: {range: [8 m2, 2 m2]}\n",
        'search.space["constraints.area"].range: lowest and highest must be ascending; swap them',
    ),
    ("    a: {setting: seed, range: [one, 2]}\n", "search.space.a.range: is not a pair of numbers"),
    ("    seed: {range: [0, 2], log: true}\n", "search.space.seed.log: needs numbers > 0"),
    ("    seed: {integer: [1, 4], step: 2}\n", "search.space.seed.step: 2 does not lead from 1"),
    ("    p: {panels: [above], count: [3, 3]}\n", "search.space.p.count: lowest and highest"),
    ("    seed: {integr: [1, 4]}\n", 'search.space.seed.integr: unknown key'),
    ("    a: {setting: fit.seed, integer: [1, 4]}\n", "search.space.a: changes fit.seed"),
    ("    fit.seed: [1, 2]\n    b: {setting: fit.seed, integer: [1, 4]}\n", "fit.seed, which"),
]  # fmt: skip


@pytest.mark.parametrize(("space", "says"), BAD, ids=[says[:40] for _, says in BAD])
def test_a_bad_space_ends_in_one_sentence_with_file_and_line(space, says):
    with pytest.raises(UserError) as caught:
        load(space)
    said = str(caught.value)
    assert says in said
    assert "c.yaml, line" in said
    assert "\n" not in said


MORE = [
    ("  objectives: [cost]\n", "search.objectives: got [cost]; write [error] or [error, cost]"),
    ("  objectives: [error, cost]\n  prune: {}\n", "search.prune: a cheap trial would be given up"),
    ("  prune: {keep: 2}\n", "search.prune.keep: got 2"),
    ("  sampler: guess\n", 'search.sampler: got "guess"'),
]


@pytest.mark.parametrize(("more", "says"), MORE, ids=[says[:40] for _, says in MORE])
def test_a_bad_search_ends_in_one_sentence(more, says):
    with pytest.raises(UserError) as caught:
        load(more=more)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ("axes: {start: {starts: 3}}", "axes.start: a search has random starts of its own"),
        ("axes: {design: {seeds: 2}}", "axes.design: is what the search varies"),
    ],
)
def test_axes_of_a_search_repeat_what_it_found(axes, says):
    with pytest.raises(UserError) as caught:
        load(axes=axes)
    assert says in str(caught.value)


PROBED = [
    ("    fit.seeed: {integer: [1, 4]}\n", 'search.space["fit.seeed"], at 1'),
    (
        "    p: {panels: [middle], count: [2, 4]}\n",
        "start has no group middle; it has above, below",
    ),
    ("    p: {panels: [above], count: [2, 9]}\n", "search.space.p, at 9"),
    ("    constraints.area: {range: [-1 m2, 2 m2]}\n", "at -1.0"),
]


@pytest.mark.parametrize(("space", "says"), PROBED, ids=[says[:40] for _, says in PROBED])
def test_the_ends_of_every_entry_are_tried_before_anything_runs(space, says):
    with pytest.raises(UserError) as caught:
        probe(load(space))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_good_space_is_probed_in_silence():
    probe(load())


def test_settings_survive_a_round_trip():
    search = load().settings.search
    assert Search.model_validate_json(search.model_dump_json()) == search
