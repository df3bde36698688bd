"""A store of format 1.0, kept as it was written, is read by every later version; see `frozen`."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from tomopt_tasks.commands import explain, inspect, verify
from tomopt_tasks.core import UserError
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.store import ArraySpec, NewerFormat, formats, open_store
from tomopt_tasks.wrapper.checkpoint import from_checkpoint

FROZEN = Path(__file__).with_name("frozen_v1")
EXPECTED = json.loads(FROZEN.with_suffix(".json").read_text())
OBJECTS = [(kind, key) for kind, keys in EXPECTED["objects"].items() for key in keys]


@pytest.fixture
def frozen(tmp_path):
    """A copy: nothing here may touch the original."""
    shutil.copytree(FROZEN, tmp_path / "frozen")
    return open_store(tmp_path / "frozen", create=False)


def test_the_store_is_small_and_tells_nothing_of_a_machine():
    files = [path for path in FROZEN.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    words = re.compile(rb'/(tmp|home|root|work|Users)/|"(user|name)": "(?!somewhere)[^"]*vm')
    assert [path for path in files if words.search(path.read_bytes())] == []


def test_every_object_is_found_with_the_digest_that_it_was_committed_under(frozen):
    assert sorted(frozen.kinds()) == sorted(EXPECTED["objects"])
    for kind, keys in EXPECTED["objects"].items():
        assert {key: frozen.find(kind, key).sha256 for key in frozen.keys(kind)} == keys
    assert verify.verify(frozen, deep=True).data["damaged"] == []


def test_what_is_read_and_written_again_has_the_same_bytes(frozen, tmp_path):
    again = open_store(tmp_path / "again")
    for kind, key in OBJECTS:
        ref = frozen.find(kind, key)
        if (frozen.backend.root / kind / key[:2] / f"{key}.json").exists():
            opened = frozen.open_dataset(ref)
            arrays = {name: spec(opened, name) for name in opened.names}
            copied = again.put_dataset(kind, key, arrays, opened.attrs, ref.metrics)
        elif kind == "checkpoint":  # it has a view for people, which nobody reads back
            continue
        else:
            copied = again.put_record(kind, key, frozen.get_record(ref), ref.metrics)
        assert copied.sha256 == ref.sha256, kind


def spec(opened, name) -> ArraySpec:
    info = opened.info(name)
    attrs = dict(info.attributes)
    named = attrs.pop("units", ""), attrs.pop("long_name", "")
    return ArraySpec(opened.array(name), info.dims, *named, attrs)


def test_numbers_runs_pins_and_tombstones_mean_what_they_meant(frozen):
    (run,) = frozen.runs()
    mse = results_of(frozen, run).evaluation["designs"]["fit"]["mse"]
    assert mse.hex() == EXPECTED["mse"]
    assert [row["loss"] > 0 for row in results_of(frozen, run).history] == [True, True]
    (judged,) = EXPECTED["objects"]["evaluation"]
    assert frozen.pinned() == {("evaluation", judged)}
    (gone,) = frozen.retired("checkpoint")
    assert frozen.tombstone("checkpoint", gone).metrics["geometry"]
    said = "\n".join(explain.explain(frozen, run, "designs.fit.mse").lines)
    assert "somewhere" in said
    assert "seed 3" in said
    assert inspect.inspect(frozen, f"{run}:test bank").data["metrics"]["muons"] == 40


def test_a_detector_comes_back_from_its_checkpoint(frozen):
    (run,) = frozen.runs()
    key = inspect.inspect(frozen, f"{run}:only epoch 2").data["key"]
    wrapper = from_checkpoint(frozen, frozen.find("checkpoint", key))
    panels = [panel for layer in wrapper.get_detectors() for panel in layer.panels]
    geometry = results_of(frozen, run).evaluation["designs"]["fit"]["geometry"]
    assert [panel.z.item() for panel in panels] == [row["z"] for row in geometry]
    state = frozen.get_record(frozen.find("checkpoint", key))
    assert any(isinstance(leaf, torch.Tensor) for leaf in leaves(state))


def leaves(tree):
    if isinstance(tree, dict | list | tuple):
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(item)
    else:
        yield tree


def lift(found):
    """What a second major version might do: rename a field of every header."""
    assert found["version"].startswith("1.")
    return {**found, "version": "2.0"}


def test_a_later_major_version_reads_it_by_its_migration_and_not_without(frozen, monkeypatch):
    monkeypatch.setattr(formats, "VERSION", "2.0")
    with pytest.raises(UserError, match=r"format version 1\.0, which tomopt no longer reads"):
        open_store(frozen.url)
    monkeypatch.setitem(formats.MIGRATIONS, 1, lift)
    store = open_store(frozen.url)
    for kind, key in OBJECTS:
        assert store.find(kind, key).sha256 == EXPECTED["objects"][kind][key]
    assert len(store.read_run(store.runs()[0])) == 2
    (gone,) = store.retired("checkpoint")
    assert store.tombstone("checkpoint", gone) is not None
    assert verify.verify(store, deep=True).data["damaged"] == []
    new = store.put_record("checkpoint", "ab" * 32, {"a": 1})
    monkeypatch.undo()
    with pytest.raises(NewerFormat, match="upgrade tomopt"):  # an older tomopt on the same store
        open_store(frozen.url).find("checkpoint", new.key)
    assert open_store(frozen.url).find(*OBJECTS[0]) is not None
