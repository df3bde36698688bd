"""The studies of the repository, and what a study fills in."""

from math import pi
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from tomopt_tasks.config.dump import dump_detector, dump_study
from tomopt_tasks.config.load import load_detector, load_study
from tomopt_tasks.config.schema import json_schema
from tomopt_tasks.config.study import Study
from tomopt_tasks.wrapper.settings import FitSettings, Smoothness, Tie

STUDIES = Path(__file__).parents[3] / "data" / "studies"
LADLE = STUDIES / "ladle_furnace.yaml"


@pytest.fixture(scope="module")
def ladle():
    return load_study(LADLE)


def heights(design, pos):
    return [p.z for layer in design.layers if layer.pos == pos for p in layer.panels]


def test_the_ladle_study_is_the_published_benchmark(ladle):
    assert ladle.world.shape == (10, 10, 10)
    assert ladle.scenes.train.heights == (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
    counts = [scene.n_volumes for scene in (ladle.scenes.train, ladle.scenes.valid)]
    assert [*counts, ladle.scenes.test.n_volumes] == [40, 80, 200]
    assert ladle.muons.source.theta_range == (0.0, 70 * pi / 180)
    assert ladle.muons.source.momentum == 5.0
    start = ladle.detectors["start"]
    assert heights(start, "above") == [1.48, 1.47, 1.46, 1.45]
    assert heights(start, "below") == [0.35, 0.34, 0.33, 0.32]
    assert {panel.xy for panel in start.panels} == {(0.0, 0.0)}


def test_the_baselines_are_the_published_ones(ladle):
    first, second = ladle.detectors["baseline_1"], ladle.detectors["baseline_2"]
    assert heights(first, "above") == [1.80, 1.75, 1.50, 1.45]
    assert heights(first, "below") == [0.35, 0.30, 0.05, 0.00]
    assert heights(second, "above") == [1.75, 1.65, 1.55, 1.45]
    assert heights(second, "below") == [0.35, 0.25, 0.15, 0.05]
    assert {panel.xy for panel in (*first.panels, *second.panels)} == {(0.5, 0.5)}
    assert ladle.baselines == ("baseline_1", "baseline_2")


@pytest.mark.parametrize("name", ["start", "baseline_1", "baseline_2"])
def test_all_panels_of_the_ladle_study_are_alike_and_share_six_square_metres(ladle, name):
    design = ladle.detectors[name]
    assert {panel.efficiency for panel in design.panels} == {0.9}
    assert {panel.resolution for panel in design.panels} == {10000.0}
    assert {panel.smooth for panel in design.panels} == {1.0}
    assert [panel.area for panel in design.panels] == pytest.approx([0.75] * 8, rel=1e-12)
    assert design.budget == 6.0


FITS = [file for file in sorted(STUDIES.glob("*.yaml")) if load_study(file).fit.phases]


@pytest.mark.parametrize("file", FITS, ids=lambda file: file.stem)
def test_a_longer_last_phase_leaves_everything_else_of_the_fit_unchanged(file):
    fit = load_study(file).fit
    last = len(fit.phases) - 1
    n_epochs = fit.phases[last].epochs
    longer = load_study(file, [(f"fit.phases[{last}].epochs", str(2 * n_epochs))]).fit.phases
    assert longer[last].epochs == 2 * n_epochs
    assert (*longer[:last], longer[last].model_copy(update={"epochs": n_epochs})) == fit.phases


def test_a_phase_takes_up_what_the_fit_says_and_may_say_otherwise():
    fit = FitSettings.model_validate(
        {
            "volumes_per_step": 8,
            "parameters": {"xy": {"tie": "group"}, "side": "frozen"},
            "optimiser": {"xy": {"kind": "sgd", "rate": 1}, "z": {"kind": "adam", "rate": 2}},
            "smoothness": [1, 0.1],
            "phases": [
                {"name": "a", "epochs": 7, "find_rates": {"epochs": 3}},
                {"name": "b", "parameters": {"z": "frozen"}, "freeze": ["xy.above"]},
                {"name": "c", "optimiser": {"xy": {"kind": "sgd", "rate": 5}}, "smoothness": 0.2},
            ],
        }
    )
    a, b, c = fit.phases
    assert [phase.volumes_per_step for phase in fit.phases] == [8, 8, 8]
    assert (a.rule("xy", "above"), a.rule("side", "above")) == (Tie(tie="group"), "frozen")
    assert (b.rule("xy", "above"), b.rule("xy", "below")) == ("frozen", Tie(tie="group"))
    assert (b.rule("z", "above"), b.rule("side", "below")) == ("frozen", "frozen")
    assert [phase.optimiser["xy"].rate for phase in fit.phases] == [1.0, 1.0, 5.0]
    assert [phase.optimiser["z"].rate for phase in fit.phases] == [2.0, 2.0, 2.0]
    assert a.smoothness == Smoothness(start=1.0, stop=0.1, length=7)
    assert c.smoothness == Smoothness(start=0.2, stop=0.2, length=1)
    assert (a.total_epochs, b.total_epochs) == (10, 10)


def test_a_schedule_takes_the_length_of_its_phase_unless_it_has_its_own():
    def schedule(**written):
        phase = {"epochs": 12, "schedule": {"kind": "one_cycle", **written}}
        return FitSettings.model_validate({"phases": [phase]}).phases[0].schedule

    assert (schedule().length, schedule().warmup) == (12, 5)
    assert schedule(length=8).length == 8
    assert schedule(per_parameter={"xy": {"mid": 3}}).cycle("xy.above").mid == 3.0
    assert schedule(per_parameter={"xy": {"mid": 3}}).cycle("z.above").mid == 10.0


def test_a_study_survives_yaml(ladle, tmp_path):
    file = tmp_path / "shown.yaml"
    file.write_text(dump_study(ladle), encoding="utf-8")
    assert load_study(file) == ladle
    assert "10 cm" not in dump_study(ladle)


def test_a_study_survives_json(ladle):
    assert Study.model_validate_json(ladle.model_dump_json()) == ladle
    assert Study.model_validate(ladle.model_dump(mode="json")) == ladle


def test_a_detector_survives_yaml(ladle, tmp_path):
    file = tmp_path / "winner.yaml"
    file.write_text(dump_detector(ladle.detectors["start"]), encoding="utf-8")
    assert load_detector(file, ladle.world) == ladle.detectors["start"]
    assert load_detector(file, ladle.world, ladle.constraints) == ladle.detectors["start"]


def test_an_exported_detector_can_start_another_study(ladle, tmp_path):
    winner = tmp_path / "winner.yaml"
    winner.write_text(dump_detector(ladle.detectors["baseline_2"]), encoding="utf-8")
    text = f"version: 1\nextends: {LADLE}\ndetectors: {{start: {{file: winner.yaml}}}}\n"
    (tmp_path / "again.yaml").write_text(text, encoding="utf-8")
    again = load_study(tmp_path / "again.yaml")
    assert again.detectors["start"] == ladle.detectors["baseline_2"]


def test_a_typed_detector_keeps_its_sides_without_constraints(ladle, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("groups: {above: {z: [1.5, 1.5]}, below: {z: [0.1, 0.2]}}", encoding="utf-8")
    mine = load_detector(file, ladle.world)
    assert mine.panels[0].span == (0.8, 0.8)
    assert mine.budget is None


@pytest.mark.parametrize("part", ["scenes", "muons", "fit", "evaluation"])
def test_the_seed_of_the_study_is_the_default_of_every_part(part):
    assert getattr(load_study(LADLE, [("seed", "7")]), part).seed == 7
    own = load_study(LADLE, [("seed", "7"), (f"{part}.seed", "8")])
    assert getattr(own, part).seed == 8


def test_exposures_default_to_fractions_of_the_muons_of_a_volume(ladle):
    assert ladle.evaluation.exposures == (125, 250, 500, 1000)
    few = load_study(LADLE, [("muons.per_volume", "2")])
    assert few.evaluation.exposures == (1, 2)


def test_compare_defaults_to_every_design():
    study = load_study(LADLE, [("compare", "[]")])
    assert study.compare == ("start", "fit", "baseline_1", "baseline_2")


def test_designs_can_be_compared_without_a_fit(tmp_path):
    designs = {"mine": {"groups": {"above": {"z": [1.5, 1.6]}, "below": {"z": [0.1, 0.2]}}}}
    (tmp_path / "s.yaml").write_text(str({"version": 1, "study": "s", "detectors": designs}))
    study = load_study(tmp_path / "s.yaml")
    assert study.compare == study.baselines == ("mine",)


def test_the_schema_accepts_every_study_and_detector_file():
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    for file in [*STUDIES.glob("*.yaml"), *STUDIES.glob("base/*.yaml")]:
        Draft202012Validator(schema).validate(YAML(typ="safe").load(file))


def test_the_schema_refuses_a_misspelt_key(ladle):
    study = ladle.model_dump(mode="json")
    validator = Draft202012Validator(json_schema())
    assert validator.is_valid(study)
    study["muons"]["per_volum"] = 3
    assert not validator.is_valid(study)
