"""Each public callback has a row in ``data/README.md`` that says which entry of a study it is."""

import re
from pathlib import Path

import pytest

from tomopt_tasks import callbacks
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.report_settings import MONITORS
from tomopt_tasks.own import TRUST, trust
from tomopt_tasks.wrapper.callback_settings import CALLBACKS
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree
from tomopt_tasks.wrapper.exposures import build_records
from tomopt_tasks.wrapper.record_settings import RECORDS

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "pipeline" / "tiny.yaml"
TITLE = "### Callbacks of a notebook in a study"

NO_ENTRY = {"EpochSave", "FitParams", "History", "PredHandler", "VolumeTargetPredHandler"}
"""What a study has without asking."""
OTHER_CLASS = {"OneCycle": "RelativeSchedule"}
"""What a fit is built with, where that is not the class of a notebook."""
SHOWN = {
    "metric_logger": "MetricLogger", "panel_metric_logger": "PanelMetricLogger",
    "heat_map_gif": "HeatMapGif", "hdf5_predictions": "Save2HDF5PredHandler",
}  # fmt: skip
"""Kind of a part of a report -> the class whose pictures or files it makes; their tests compare."""
FREE = [("constraints", "{area: null}")]
ADAM = "{kind: adam, rate: 0.01}"
BESIDE = {
    "BatchCost": FREE,
    "HeatMapGif": [
        *FREE,
        ("detectors.start.panel", "{kind: heat_map, n_cluster: 2}"),
        ("fit.phases", "[{name: only, epochs: 1}]"),
        ("fit.optimiser", f"{{mu: {ADAM}, sig: {ADAM}, norm: {ADAM}, z: {ADAM}}}"),
    ],
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
    """Classes of what the first phase of a study, its muons, predictions or report run."""
    tree = first_tree(study.world, study.detectors[study.fit.start])
    fit = PhaseFit(tree, study.fit.phases[0], study.inference, study.loss, 1, new=True)
    report = (*study.report.monitors, *study.report.files)
    looks = {type(each).__name__ for each in build_records(study.evaluation.records)}
    looks |= {SHOWN[each.kind] for each in report}
    aimed = {"MuonResampler"} if study.muons.aim.kind == "muon_resampler" else set()
    return looks | aimed | {type(each).__name__ for each in fit.callbacks}


def test_no_public_callback_is_missing():
    assert set(table()) == set(callbacks.__all__)
    assert set(table()) - set(ENTRIES) == NO_ENTRY


def test_no_kind_of_callback_is_missing():
    kinds = {kind for entry in ENTRIES.values() for kind in re.findall(r"kind: (\w+)[,}]", entry)}
    parts = set(CALLBACKS) | set(RECORDS) | set(MONITORS)
    assert parts - {"own"} <= kinds


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
