"""Bad studies end in one sentence that names the place in the file as the user wrote it."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tomopt_tasks.config.load import load_study
from tomopt_tasks.core import UserError

GOOD = """\
version: 1
study: bad
detectors:
  start:
    groups:
      above: {z: [1.5, 1.6]}
      below: {z: [0.1, 0.2]}
"""
HEAD = "version: 1\nstudy: bad\ndetectors:\n  start:\n"
CASES = YAML(typ="safe").load(Path(__file__).with_name("bad_studies.yaml"))
NAMES = [f"{number}: {case['says'].partition(':')[0]}" for number, case in enumerate(CASES)]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def message_of(text, overrides=()):
    Path("bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_study("bad.yaml", overrides)
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_a_bad_study_ends_in_one_clear_sentence(case):
    overrides = [tuple(case["set"].split("=", 1))] if "set" in case else []
    indented = "\n".join("    " + line for line in case.get("detector", "").splitlines())
    texts = {"detector": HEAD + indented + "\n", "file": case.get("file", "")}
    shown = next((texts[kind] for kind in texts if kind in case), GOOD + case.get("add", "") + "\n")
    message = message_of(shown, overrides)
    assert message == case["says"]
    assert "\n" not in message


def test_the_good_study_of_the_table_is_good():
    Path("bad.yaml").write_text(GOOD, encoding="utf-8")
    assert load_study("bad.yaml").detectors["start"].budget == 6.0


def test_a_missing_file_offers_the_nearest_name():
    Path("ladle.yaml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(UserError, match=r'^no such file: ladel.yaml; did you mean "ladle.yaml"\?$'):
        load_study("ladel.yaml")


def test_a_missing_file_in_a_missing_folder_is_one_sentence():
    expected = "^no such file: nowhere/x.yaml; check the name and the folder$"
    with pytest.raises(UserError, match=expected):
        load_study("nowhere/x.yaml")


def test_a_folder_is_no_study():
    Path("studies").mkdir()
    with pytest.raises(UserError, match=r"^studies cannot be read: is a directory; name a YAML"):
        load_study("studies")


def test_a_file_that_is_no_text_is_no_study():
    Path("x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"^x.yaml is not UTF-8 text; save it as UTF-8$"):
        load_study("x.yaml")


def test_an_error_in_a_base_names_the_base():
    Path("base.yaml").write_text("world: {voxel: 10 kg}\n", encoding="utf-8")
    message = message_of(GOOD + "extends: base.yaml\n")
    assert message.endswith("(base.yaml, line 1)")


def test_an_error_in_a_detector_file_names_that_file_and_the_place_in_the_study():
    Path("d.yaml").write_text(
        "groups:\n  above: {z: [1.5, 1.2]}\n  below: {z: [0.1, 0.2]}\n", encoding="utf-8"
    )
    message = message_of(HEAD + "    file: d.yaml\n")
    assert message.startswith("detectors.start.groups.above.z[1]: got 1.2 m, which lies inside")
    assert message.endswith("(d.yaml, line 2)")


def test_a_missing_detector_file_offers_the_nearest_name():
    Path("baseline_1.yaml").write_text("groups: {}\n", encoding="utf-8")
    message = message_of(HEAD + "    file: baseline_l.yaml\n")
    assert message == (
        'detectors.start.file: no such file: baseline_l.yaml; did you mean "baseline_1.yaml"? '
        "(bad.yaml, line 5)"
    )


def test_a_circle_of_bases_is_refused():
    Path("a.yaml").write_text("extends: bad.yaml\n", encoding="utf-8")
    message = message_of(GOOD + "extends: a.yaml\n")
    assert message.startswith("extends: bad.yaml extends itself, directly or through others;")


def test_the_same_mistake_copied_by_like_counts_once():
    train = "train: {kind: ladle_furnace, per_height: 0}"
    scenes = f"scenes: {{{train}, valid: {{like: train}}, test: {{like: train}}}}\n"
    assert message_of(GOOD + scenes) == (
        "scenes.train.per_height: got 0, but it must be >= 1; the default is 5 (bad.yaml, line 8)"
    )


def test_more_problems_are_counted():
    message = message_of(GOOD + "world: {voxel: -1, height: -1}\nseed: -1\n")
    assert message.endswith("(bad.yaml, line 9; 2 more problems after this)")


def test_aliases_of_aliases_do_not_fill_the_memory():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "holds more than 100000 entries" in message_of("\n".join(lines))


def test_nothing_is_written_when_a_study_is_bad(tmp_path):
    message_of(GOOD + "world: {voxel: 10 kg}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"]
