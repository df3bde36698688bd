"""Scatters and hits that a study records lie beside the predictions, and move nothing."""

import base64
import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pipeline.common import TINY, changed, counted, tiny
from tests.pipeline.test_campaign import NOBODY, at_once
from tomopt_tasks.callbacks.records import HitRecord, ScatterRecord
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.campaigns.plan import plan_campaign
from tomopt_tasks.campaigns.run import run_campaign
from tomopt_tasks.commands.export import export
from tomopt_tasks.commands.inspect import inspect
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.reports import densities
from tomopt_tasks.reports.densities import density_section
from tomopt_tasks.reports.page import render_html
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.stages import states_of
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.build import build_wrapper
from tomopt_tasks.wrapper.checkpoint import result_volume, set_edges
from tomopt_tasks.wrapper.scans import BankedPassives

RECORDS = ("evaluation.records", "[{kind: scatter_record}, {kind: hit_record, max_muons: 20}]")
COLUMNS = {"scatter": "layer", "hit": "panel"}


@pytest.fixture(scope="module")
def recorded(finished, tmp_path_factory):
    """The small study, run once more with records; its store and its run."""
    folder = shutil.copytree(finished[0], tmp_path_factory.mktemp("records") / "store")
    study, store = changed(RECORDS), open_store(folder)
    with begin(study, store, request=Request(str(TINY), dict([RECORDS]))) as run:
        run_all(run)
    return study, store, run.id


def dataset(store, study, label):
    stage = next(stage for stage in plan_study(study) if stage.label == label)
    return store.open_dataset(store.find(stage.kind, stage.key))


def test_a_study_without_records_has_the_inputs_that_it_always_had():
    stages = {stage.label: stage.components["inputs"] for stage in plan_study(tiny())}
    assert "records" not in stages["fit on test"]
    assert "records" not in stages["evaluation"]["evaluation"]
    asked = {stage.label: stage.components["inputs"] for stage in plan_study(changed(RECORDS))}
    assert {label for label in stages if asked[label] != stages[label]} == {
        f"{design} on test" for design in ("start", "fit", "baseline_1")
    }
    assert tiny().model_dump(mode="json")["evaluation"]["records"] == []


def test_records_are_stored_for_every_design_on_the_test_bank_and_nowhere_else(recorded):
    study, store, _ = recorded
    for design in ("start", "fit", "baseline_1"):
        found = dataset(store, study, f"{design} on test")
        for dim, own in COLUMNS.items():
            names = [f"{dim}_{name}" for name in ("x", "y", "z", own, "volume", "muon")]
            assert set(names) <= set(found.names)
            assert {found.info(name).dims for name in names} == {(dim,)}
            assert [found.info(name).attributes.get("units") for name in names[:3]] == ["m"] * 3
        assert not any("scatter_" in name for name in dataset(store, study, "fit on valid").names)


def test_the_predictions_are_those_of_a_study_without_records(recorded):
    study, store, _ = recorded
    with_records = dataset(store, study, "fit on test")
    without = dataset(store, tiny(), "fit on test")
    assert without.names
    for name in without.names:
        np.testing.assert_array_equal(without.array(name), with_records.array(name))


def test_what_is_stored_is_what_the_callbacks_of_a_notebook_see(recorded):
    study, store, _ = recorded
    stages = {stage.label: stage for stage in plan_study(study)}
    tree = store.get_record(store.find("checkpoint", stages["fine epoch 2"].key))
    volume = result_volume(tree)
    set_edges(volume, hard=True)
    x0 = torch.from_numpy(dataset(store, study, "test volumes").array("x0"))
    passives = BankedPassives(
        x0, torch.zeros(len(x0)), states_of(dataset(store, study, "test bank"))
    )
    wrapper = build_wrapper(volume, study.inference, None, {}, study.evaluation.seed, fitting=False)
    points, hits = ScatterRecord(), HitRecord()
    wrapper.predict(passives, 60, 60, cbs=[points, hits])
    found = dataset(store, study, "fit on test")
    stored = np.stack([found.array(f"scatter_{name}") for name in "xyz"], 1)
    np.testing.assert_array_equal(stored, points.get_record().numpy())
    everything = hits.columns()
    row = everything["volume"] * 60 + everything["muon"]
    some = found.array("hit_volume") * 60 + found.array("hit_muon")
    assert len(set(some)) == 20
    first = np.isin(row.numpy(), some)
    for name, values in everything.items():
        np.testing.assert_array_equal(found.array(f"hit_{name}"), values.numpy()[first])
    assert found.info("hit_panel").attributes["panels"][3] == "below[0]"


def test_the_muons_are_spread_over_the_volumes(recorded):
    study, store, _ = recorded
    found = dataset(store, study, "fit on test")
    pairs = set(zip(found.array("hit_volume"), found.array("hit_muon"), strict=True))
    counts = [sum(volume == n for volume, _ in pairs) for n in range(6)]
    assert counts == [4, 4, 3, 3, 3, 3]


def test_records_are_named_by_inspect_and_taken_out_by_export(recorded):
    _, store, run = recorded
    said = "\n".join(inspect(store, f"{run}:fit on test").lines)
    assert "x of the point of closest approach" in said
    assert "number of the muon in the bank of its volume" in said
    table = export(store, f"{run}:fit on test", array="scatter_x").data
    assert set(table[0]) == {"scatter", *(f"scatter_{n}" for n in "xyz"), "scatter_layer",
                             "scatter_volume", "scatter_muon"}  # fmt: skip
    assert all(0 <= row["scatter_x"] <= 1 and 0.4 <= row["scatter_z"] <= 1.4 for row in table)


def test_the_page_shows_maps_of_each_record_of_each_design(recorded):
    study, store, run = recorded
    data = results_of(store, run)
    section = density_section(data)
    assert section in render_html(data)
    found = dataset(store, study, "fit on test")
    assert f"Points of closest approach: {len(found.array('scatter_x'))}," in section
    assert f"Hits: {len(found.array('hit_x'))}, of 20 muons" in section
    assert re.findall(r'alt="([^"]*)"', section) == [
        f"{what}, {name}"
        for name in ("fit", "start", "baseline_1")
        for what in ("Points of closest approach", "Hits")
    ]
    for picture in re.findall(r"data:image/png;base64,([^\"]+)", section):
        with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
            assert image.size[0] > 500
    assert density_section(replace(data, records={})) == ""


def test_maps_count_the_points_of_one_layer_each(recorded, monkeypatch):
    _, store, run = recorded
    drawn = []
    monkeypatch.setattr(densities, "png_of", lambda figure, _: drawn.append(figure) or b"")
    data = results_of(store, run)
    density_section(data)
    arrays = data.records["fit"]
    for figure, kind, by in zip(drawn, ("scatter", "hit"), COLUMNS.values(), strict=False):
        _, counts = np.unique(arrays[f"{kind}_{by}"], return_counts=True)
        maps = [axis for axis in figure.axes if axis.get_title()]
        assert [axis.collections[0].get_array().sum() for axis in maps] == counts.tolist()
    top = 1.4 - 0.1 * np.unique(arrays["scatter_layer"])
    titles = [axis.get_title() for axis in drawn[0].axes if axis.get_title()]
    assert titles == [f"z {z - 0.1:.3g} to {z:.3g} m" for z in top]
    names = [axis.get_title() for axis in drawn[1].axes if axis.get_title()]
    assert names[0].startswith("above")


def test_an_interrupted_prediction_ends_with_the_same_bits(recorded, tmp_path, monkeypatch):
    study, store, _ = recorded
    wanted = dataset(store, study, "start on test").ref
    other = open_store(tmp_path / "store")
    one = changed(RECORDS, ("fit.phases", "[]"), ("compare", "[start]"))
    add, volumes = ScatterRecord.on_scatter_end, []

    def killed(self):
        add(self)
        volumes.append(self.fit_params.volume_id)
        raise KeyboardInterrupt

    monkeypatch.setattr(ScatterRecord, "on_scatter_end", killed)
    with pytest.raises(KeyboardInterrupt), begin(one, other) as run:
        run_all(run)
    assert volumes
    monkeypatch.setattr(ScatterRecord, "on_scatter_end", add)
    with counted() as ran, begin(one, other) as run:
        run_all(run)
    assert 0 < len(ran) < 8
    assert dataset(other, one, "start on test").ref == wanted


def test_members_of_a_campaign_record(tmp_path, monkeypatch):
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    base = tmp_path / "base.yaml"
    base.write_text(
        f"version: 1\nextends: {TINY}\nstudy: member\nevaluation: {{{RECORDS[0][11:]}: "
        f"{RECORDS[1]}}}\nfit: {{phases: []}}\ncompare: [start]\n"
    )
    file = tmp_path / "c.yaml"
    axes = "axes: {detectors.start.groups.above.side: [0.7, 0.8]}"
    file.write_text(f"version: 1\ncampaign: c\nbase: {base}\n{axes}\n")
    plan, store = plan_campaign(load_campaign(file)), open_store(tmp_path / "store")
    run_campaign(plan, store, NOBODY)
    sizes = [
        store.open_dataset(store.find(stage.kind, stage.key)).info("scatter_x").shape
        for stage in plan.stages.values()
        if stage.label == "start on test"
    ]
    assert len(sizes) == 2
    assert all(size > (0,) for size in sizes)
