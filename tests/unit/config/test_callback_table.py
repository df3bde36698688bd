"""Each public callback has a row in ``data/README.md`` that says which entry of a study it is."""

import re
from pathlib import Path

import pytest

from tomopt_tasks import callbacks
from tomopt_tasks.config.load import load_study
from tomopt_tasks.own import TRUST, trust
from tomopt_tasks.wrapper.callback_settings import CALLBACKS
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "pipeline" / "tiny.yaml"
TITLE = "### Callbacks of a notebook in a study"

PENDING = {
    "ScatterRecord", "HitRecord", "PredHandler", "VolumeTargetPredHandler", "Save2HDF5PredHandler",
    "MetricLogger", "PanelMetricLogger", "HeatMapGif",
}  # fmt: skip
"""Callbacks without a row yet."""
NO_ENTRY = {"EpochSave", "FitParams", "History"}
"""What a study has without asking."""
OTHER_CLASS = {"OneCycle": "RelativeSchedule"}
"""What a fit is built with, where that is not the class of a notebook."""
FREE = [("constraints", "{area: null}")]
BESIDE = {
    "BatchCost": FREE,
    "CostCoefWarmup": [*FREE, ("loss", "{kind: volume_mse, correct: false, target_budget: 5}")],
}
"""What an entry needs beside it."""


def table() -> dict[str, str]:
    """Class -> entry as written, empty if there is none."""
    text = (ROOT / "data" / "README.md").read_text(encoding="utf-8").partition(TITLE)[2]
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \|", text.partition("\n#")[0], re.MULTILINE)
    found = [(n, entry.strip("`-")) for names, entry in rows for n in re.findall(r"`(\w+)`", names)]
    assert len(dict(found)) == len(found)
    return dict(found)


ENTRIES = {name: entry for name, entry in table().items() if entry}


def built(study) -> set[str]:
    """Classes of the callbacks that the first phase of a study, or its muon source, runs."""
    tree = first_tree(study.world, study.detectors[study.fit.start])
    fit = PhaseFit(tree, study.fit.phases[0], study.inference, study.loss, 1, new=True)
    aimed = {"MuonResampler"} if study.muons.aim.kind == "muon_resampler" else set()
    return aimed | {type(each).__name__ for each in fit.callbacks}


def test_no_public_callback_is_missing():
    assert set(table()) | PENDING == set(callbacks.__all__)
    assert not set(table()) & PENDING
    assert set(table()) - set(ENTRIES) == NO_ENTRY


def test_no_kind_of_callback_is_missing():
    kinds = {kind for entry in ENTRIES.values() for kind in re.findall(r"kind: (\w+)[,}]", entry)}
    assert set(CALLBACKS) - {"own"} <= kinds


@pytest.mark.parametrize("name", ENTRIES)
def test_the_entry_of_a_row_is_what_makes_the_fit_run_the_class(name, tmp_path, monkeypatch):
    place, _, text = ENTRIES[name].partition(": ")
    monkeypatch.setenv(TRUST, "")
    own = re.search(r"my_module:(\w+)", text)
    wanted = own[1] if own else OTHER_CLASS.get(name, name)
    if own:
        source = f"from tomopt_tasks import {name}\n\n\nclass {own[1]}({name}):\n    pass\n"
        (tmp_path / "my_module.py").write_text(source, encoding="utf-8")
        trust([tmp_path])
        text = text.replace("}", f"{ARGUMENTS.get(name, '')}}}")
    assert wanted in built(load_study(TINY, [*BESIDE.get(name, []), (place, text)]))


ARGUMENTS = {
    "EvalMetric": ", lower_metric_better: true",
    "WarmupCallback": ", n_warmup: 1",
    "AbsOptSchedule": ", opt_name: z",
}
"""Arguments that a class of one's own takes over from its base."""
