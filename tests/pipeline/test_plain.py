"""The whole pipeline without Prefect: what a rerun executes is exactly what is missing."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.common import changed, counted, flip_bit, objects, tiny
from tests.pipeline.test_parts import chosen
from tests.unit.store.matrix import RECORD
from tomopt_tasks.caching.closure import CARRIERS, package_sources
from tomopt_tasks.config.load import load_detector
from tomopt_tasks.planning.plan import KINDS, plan_study
from tomopt_tasks.reports import page as page_module
from tomopt_tasks.runs import body
from tomopt_tasks.runs.command import will_run
from tomopt_tasks.runs.judging import judge
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.runs.outputs import report_folder, write_report
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.store.opening import open_store


def keys(study) -> dict[str, str]:
    return {stage.label: stage.key for stage in plan_study(study)}


def rerun(study, store) -> list[str]:
    """Labels of the stages whose body ran."""
    labels = {stage.key: stage.label for stage in plan_study(study)}
    with counted() as ran, begin(study, store) as run:
        run_all(run)
    return [labels[key] for key in ran]


def test_the_command_prints_the_table_the_files_and_what_ran(finished):
    text = "\n".join(finished[1])
    for word in ("initial", "optimised", "baseline 1", "RMSE", "MSE", "budget used", "report.html"):
        assert word in text
    assert finished[1][-1] == "19 stages executed, 0 cached"


def test_a_second_run_executes_nothing(store):
    assert rerun(tiny(), store) == []


def test_the_engine_is_needed_if_and_only_if_something_will_run(store):
    assert not will_run(tiny(), store, Request())
    assert will_run(tiny(), store, Request(force=["evaluate"]))
    assert not will_run(tiny(), store, Request(force=["no such stage"]))  # the run refuses it
    objects(store)[keys(tiny())["evaluation"]].unlink()
    assert will_run(tiny(), open_store(store.url), Request())


@pytest.mark.parametrize("label", ["train bank", "coarse epoch 2", "fit on test", "evaluation"])
def test_a_deleted_object_costs_one_body_and_comes_back_with_the_same_digest(store, label):
    key = keys(tiny())[label]
    kind = next(stage.kind for stage in plan_study(tiny()) if stage.key == key)
    before = store.find(kind, key)
    objects(store)[key].unlink()
    again = open_store(store.url)
    assert rerun(tiny(), again) == [label]
    assert again.find(kind, key) == before


@pytest.mark.parametrize("label", ["test bank", "fine epoch 1"])
def test_a_flipped_bit_costs_one_body(store, label):
    key = keys(tiny())[label]
    root = Path(store.url)
    path = objects(store)[key]
    if path.suffix == ".json":  # a dataset: hurt an array, not the manifest
        parts = (part for part in (root / "bank" / key[:2] / key).rglob("*") if part.is_file())
        path = max(parts, key=lambda part: part.stat().st_size)
    flip_bit(path)
    assert rerun(tiny(), open_store(store.url)) == [label]


@pytest.mark.parametrize("harm", ["pickle codec", "shape bomb", "path traversal"])
def test_crafted_objects_whose_digest_fits_are_made_again_in_the_run_that_reads_them(
    store, tmp_path, harm
):
    named = keys(tiny())
    fitted = ["fine epoch 1", "fine epoch 2"]
    before = [store.find("checkpoint", named[label]) for label in fitted]
    files = objects(store)
    for label in fitted:
        RECORD[harm](files[named[label]], tmp_path / "canary", files[named["evaluation"]])
    files[named["fit on test"]].unlink()  # it reads the last one, which is made from the other
    again = open_store(store.url)
    assert again.find("checkpoint", named["fine epoch 2"]) not in (None, before[1])
    with begin(tiny(), again) as run:
        run_all(run)
    labels = {key: label for label, key in named.items()}
    tries = ["fit on test", "fine epoch 2", "fine epoch 1", "fine epoch 2", "fit on test"]
    assert [labels[key] for key in run.executed] == tries
    assert [again.find("checkpoint", named[label]) for label in fitted] == before
    told = next(entry["executed"] for entry in reversed(store.read_run(run.id)))
    assert {told[named[label]]["reason"] for label in fitted} == {"lost or damaged"}
    assert rerun(tiny(), open_store(store.url)) == []
    assert not (tmp_path / "canary").exists()


def test_a_new_title_changes_the_page_and_runs_nothing(store):
    assert rerun(changed(("report.title", "A better name")), store) == []
    outputs = write_report(store, find_run(store, "tiny"))
    assert "A better name" in outputs.report.read_text()


def test_more_epochs_in_the_last_phase_run_those_predictions_and_evaluation(store):
    more = changed(("fit.phases[1].epochs", "4"))
    expected = ["fine epoch 3", "fine epoch 4", "fit on valid", "fit on test", "evaluation"]
    assert rerun(more, store) == expected


def test_the_exported_detector_is_the_fitted_one(store):
    run = find_run(store, "tiny")
    folder = report_folder(store, run)
    detector = load_detector(folder / "detector.yaml", tiny().world)
    judged = judge(store, run, folder / "detector.yaml")
    mine, fit = judged.rows[0], next(row for row in judged.rows if row["design"] == "optimised")
    assert mine["MSE [m²]"] == fit["MSE [m²]"]
    assert fit["MSE of detector relative to it"] == "1.00"
    assert judged.executed == 3
    assert judge(store, run, folder / "detector.yaml").executed == 0
    assert sum(panel.area for panel in detector.panels) == pytest.approx(6.0)
    lines = (folder / "detector.csv").read_text().splitlines()
    assert lines[0].startswith("panel,x_mm")
    assert len(lines) == 1 + len(detector.panels)


def test_a_report_is_made_again_from_the_store(store):
    run = find_run(store, "tiny")
    page = report_folder(store, run) / "report.html"
    before = page.read_text()
    page.unlink()
    write_report(store, run)
    assert page.read_text() == before


def test_a_page_of_the_same_results_is_not_drawn_again(store, monkeypatch):
    drawn = []
    monkeypatch.setattr(page_module, "render_html", lambda data: drawn.append(data) or "a page\n")
    rerun(tiny(), store)  # by the command that all others here are run by
    outputs = write_report(store, find_run(store, "tiny"))
    page = outputs.report.read_text()
    assert page.startswith("a page\n<!-- ")

    def again(study=None):
        drawn.clear()
        rerun(study or tiny(), store)
        write_report(store, find_run(store, "tiny"), again=False)
        return len(drawn)

    assert again() == 0
    assert outputs.report.read_text() == page
    outputs.report.write_text(page[:-20])
    assert again() == 1
    outputs.detector_csv.unlink()
    assert again() == 1
    for damaged in (outputs.report, outputs.detector_yaml, outputs.detector_csv):
        flip_bit(damaged)
        assert again() == 1
        assert outputs.report.read_text() == page
    assert again(changed(("report.title", "Another"))) == 1
    assert again() == 1
    assert again() == 0


def test_keyed_objects_name_no_study_host_or_time(store):
    """The same work under another name is found, and nothing but manifests tells who did it."""
    assert rerun(changed(("study", "someone-elses")), store) == []
    for path in objects(store).values():
        if path.suffix == ".json":
            assert "tiny" not in json.dumps(json.loads(path.read_text()))


def test_every_function_that_a_body_runs_is_in_its_code_digest(tmp_path, monkeypatch):
    """A helper that the closure misses would change results under the same key."""
    sources = package_sources()
    names = {str(path): module for module, path in sources.files.items()}
    ran: dict[str, set[tuple[str, str]]] = {name: set() for name in KINDS}
    real = body.bodies()

    def watched(name):
        def note(frame, event, arg):
            if event == "call" and frame.f_code.co_filename in names:
                top = frame.f_code.co_qualname.partition(".")[0]
                ran[name].add((names[frame.f_code.co_filename], top))

        def run(*args):
            sys.setprofile(note)
            try:
                return real[name](*args)
            finally:
                sys.setprofile(None)

        return run

    monkeypatch.setattr(body, "bodies", lambda: {name: watched(name) for name in KINDS})
    asked = ("fit.multi_start", "{random: 1, halve_after: [1]}")
    cuts = ("evaluation.fiducial_cuts", "[20 cm]")
    learned = chosen("learned classes", "volume_class", "u_lorry")
    for study in (changed(asked, cuts), learned):
        rerun(study, open_store(tmp_path / "store"))
    carriers = {f"tomopt_tasks.{name}" for name in CARRIERS} | {"tomopt_tasks.core"}
    for name, places in ran.items():
        closure = sources.closure("tomopt_tasks.stages", name)
        missed = {
            f"{module}:{top}"
            for module, top in places - closure
            if not top.startswith("<") and ".".join(module.split(".")[:2]) not in carriers
        }
        assert places
        assert missed == set(), f"{name} runs code that is not in its key"


def test_cuts_in_software_refit_nothing_and_a_wide_one_changes_nothing(store):
    study = changed(("evaluation.fiducial_cuts", "[20 cm, 100 m]"))
    ran = rerun(study, store)
    assert ran[-1] == "evaluation"
    assert {label.split()[-1] for label in ran[:-1]} == {"valid", "test"}
    found = store.open_dataset(store.find("predictions", keys(study)["baseline_1 on test"]))
    assert found.array("fiducial_cut").tolist() == [0.2, 100.0]
    narrow, wide = found.array("prediction_cut")
    np.testing.assert_array_equal(wide, found.array("prediction"))
    assert not np.array_equal(narrow, found.array("prediction"), equal_nan=True)
    assert found.array("accepted_cut")[0].sum() < found.array("accepted").sum()
    evaluation = store.get_record(store.find("evaluation", keys(study)["evaluation"]))
    assert all(d["fiducial_cut"] in (None, 0.2, 100.0) for d in evaluation["designs"].values())
