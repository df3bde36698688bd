"""Several files and overrides become one tree."""

from pathlib import Path

import pytest

from tomopt_tasks.config.compose import compose, overlay
from tomopt_tasks.config.document import Document, parse_document
from tomopt_tasks.config.paths import parse_path, show_path
from tomopt_tasks.config.version import MIGRATIONS, VERSION, bring_up_to_date
from tomopt_tasks.core import UserError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(name, text):
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")


def merged(base, over):
    return overlay(parse_document(base, "base"), parse_document(over, "over")).data


def tree(*overrides, text="version: 1\n"):
    write("s.yaml", text)
    return compose(Path("s.yaml"), overrides).data


def test_mappings_merge_key_by_key_and_lists_replace():
    assert merged("a: {b: 1, c: [1, 2]}", "a: {c: [3], d: 4}") == {"a": {"b": 1, "c": [3], "d": 4}}


def test_another_kind_replaces_the_whole_part():
    assert merged("loss: {kind: a, x: 1}", "loss: {kind: b}") == {"loss": {"kind": "b"}}
    assert merged("loss: {kind: a, x: 1}", "loss: {kind: a}") == {"loss": {"kind": "a", "x": 1}}


def test_a_detector_from_a_file_replaces_one_in_groups():
    over = "detectors: {d: {file: x.yaml}}"
    assert merged("detectors: {d: {groups: {}}}", over) == {"detectors": {"d": {"file": "x.yaml"}}}


@pytest.mark.parametrize("place", ["detectors", "optimiser", "groups", "panels"])
def test_null_removes_an_inherited_entry(place):
    assert merged(f"{place}: {{a: 1, b: 2}}", f"{place}: {{a: null}}") == {place: {"b": 2}}


def test_null_sets_any_other_key_to_nothing():
    assert merged("fit: {schedule: {kind: x}}", "fit: {schedule: null}") == {
        "fit": {"schedule": None}
    }


def test_bases_are_relative_to_the_file_that_names_them():
    write("studies/base/b.yaml", "extends: ../deep/c.yaml\nseed: 2\n")
    write("studies/deep/c.yaml", "seed: 3\nstudy: c\n")
    write("studies/s.yaml", "version: 1\nextends: base/b.yaml\n")
    assert compose(Path("studies/s.yaml")).data == {"version": 1, "seed": 2, "study": "c"}


def test_detector_files_are_relative_to_the_file_that_names_them():
    write("studies/base/b.yaml", "detectors: {d: {file: ../x.yaml}}\n")
    write("studies/x.yaml", "version: 1\npanel: {sigma: 1 mm}\ngroups: {a: {z: [1]}}\n")
    write("studies/s.yaml", "version: 1\nextends: base/b.yaml\n")
    found = compose(Path("studies/s.yaml")).data["detectors"]["d"]
    assert found == {"panel": {"sigma": "1 mm"}, "groups": {"a": {"z": [1]}}}


def test_keys_beside_a_file_are_laid_over_it():
    write("x.yaml", "panel: {sigma: 1 mm}\ngroups: {a: {z: [1], side: 1}}\n")
    text = "version: 1\ndetectors: {d: {file: x.yaml, groups: {a: {side: 2}}}}\n"
    assert tree(text=text)["detectors"]["d"]["groups"] == {"a": {"z": [1], "side": 2}}


def test_like_copies_another_scene():
    text = (
        "version: 1\nscenes: {train: {a: 1, b: 2}, valid: {like: train, b: 3}, test: {like: valid}}"
    )
    scenes = tree(text=text)["scenes"]
    assert scenes == {
        "train": {"a": 1, "b": 2},
        "valid": {"a": 1, "b": 3},
        "test": {"a": 1, "b": 3},
    }


def test_like_sees_overrides():
    text = "version: 1\nscenes: {train: {a: 1}, test: {like: train}}\n"
    assert tree(("scenes.train.a", "5"), text=text)["scenes"]["test"] == {"a": 5}


@pytest.mark.parametrize("place", ["fit.phases[1].epochs", "fit.phases.1.epochs"])
def test_an_override_reaches_into_lists(place):
    text = "version: 1\nfit: {phases: [{epochs: 1}, {epochs: 2}]}\n"
    phases = tree((place, "20"), text=text)["fit"]["phases"]
    assert phases == [{"epochs": 1}, {"epochs": 20}]


@pytest.mark.parametrize("place", ['a."b[1]".c', 'a["b[1]"].c'])
def test_an_override_reaches_keys_with_brackets(place):
    assert tree((place, "1"))["a"] == {"b[1]": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("20", 20),
        ("1e4", 1e4),
        ("10 cm", "10 cm"),
        ("[1 cm, 2]", ["1 cm", 2]),
        ("{kind: adam}", {"kind": "adam"}),
        ("yes", "yes"),
        ("true", True),
        ("null", None),
        ("", None),
    ],
)
def test_the_value_of_an_override_is_yaml(text, value):
    assert tree(("a", text))["a"] == value


def test_an_override_with_null_removes_a_named_entry():
    text = "version: 1\nfit: {optimiser: {xy: 1, z: 2}}\n"
    assert tree(("fit.optimiser.xy", "null"), text=text)["fit"]["optimiser"] == {"z": 2}


def test_later_overrides_win():
    assert tree(("seed", "1"), ("seed", "2"))["seed"] == 2


@pytest.mark.parametrize(
    "path", [("a",), ("a", 0, "b"), ("fit", "optimiser", "xy.above", "rate"), ("p", "b[1]", 2)]
)
def test_a_path_that_is_shown_can_be_read(path):
    assert parse_path(show_path(path)) == path


def test_an_entry_knows_its_file_and_line():
    write("b.yaml", "world:\n  voxel: 1\n")
    write("s.yaml", "version: 1\nextends: b.yaml\nworld: {height: 2}\n")
    document = compose(Path("s.yaml"), [("seed", "3")])
    assert str(document.mark(("world", "voxel"))) == "b.yaml, line 2"
    assert str(document.mark(("world", "height"))) == "s.yaml, line 3"
    assert str(document.mark(("seed",))) == "--set seed=3"


def test_an_older_file_is_migrated_step_by_step(monkeypatch):
    monkeypatch.setattr("tomopt_tasks.config.version.VERSION", VERSION + 1)
    monkeypatch.setitem(MIGRATIONS, VERSION, lambda data: {"version": 1, "seed": data["seeds"]})
    document = Document({"version": VERSION, "seeds": 4}, "old.yaml")
    assert bring_up_to_date(document, required=True).data == {"version": VERSION + 1, "seed": 4}


def test_a_file_too_old_to_migrate_is_refused(monkeypatch):
    monkeypatch.setattr("tomopt_tasks.config.version.VERSION", VERSION + 1)
    with pytest.raises(UserError, match=r"^version: got 1, which is too old to be read;"):
        bring_up_to_date(Document({"version": 1}, "old.yaml"), required=True)
