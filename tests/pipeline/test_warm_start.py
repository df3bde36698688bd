"""A study starts from the detector that another run has exported."""

import pytest
import torch

from tests.pipeline.common import changed, tiny
from tomopt_tasks.config.load import load_detector
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.runs.outputs import report_folder
from tomopt_tasks.runs.run import PlainStage, begin
from tomopt_tasks.wrapper.checkpoint import result_volume


def test_a_fit_starts_from_the_detector_file_of_a_run(store):
    exported = report_folder(store, find_run(store, "tiny")) / "detector.yaml"
    warm = changed(("detectors.warm", f"{{file: {exported}}}"), ("fit.start", "warm"))
    wanted = load_detector(exported, warm.world)
    start = next(stage for stage in plan_study(warm) if stage.name == "start_fit")
    for found, panel in zip(start.inputs.detector.panels, wanted.panels, strict=True):
        assert (found.xy, found.z) == (panel.xy, panel.z)
        assert found.span == pytest.approx(panel.span)
    cold = next(stage for stage in plan_study(tiny()) if stage.name == "start_fit")
    assert start.key != cold.key


def epochs(study):
    return [stage for stage in plan_study(study) if stage.kind == "checkpoint"]


def test_a_fit_starts_from_the_parameters_of_a_checkpoint(store):
    cold = epochs(tiny())
    warm = changed(("fit.warm_start", cold[-1].key), ("detectors.start.panel", "{sigma: 1 mm}"))
    with begin(warm, store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            run.all(PlainStage(name))
    wanted = result_volume(store.get_record(store.find("checkpoint", cold[-1].key)))
    ref = store.find("checkpoint", epochs(warm)[0].key)
    found = result_volume(store.get_record(ref))
    named = dict(found.named_parameters())
    assert all(torch.equal(named[name], value) for name, value in wanted.named_parameters())
    panels = [panel for layer in found.get_detectors() for panel in layer.panels]
    assert {float(panel.resolution) for panel in panels} == {1000.0}  # that of the new study
    places = [row["z"] for row in ref.metrics["geometry"]]
    assert places == [float(panel.z.detach()) for panel in panels]
    assert store.find("checkpoint", epochs(warm)[-1].key) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("fit.warm_start", "f" * 64)], "there is no checkpoint ffffffffffff in"),
        ([("detectors.start.groups.above.z", "[1.48, 1.46]")], "is made of other parts"),
        ([("constraints", "{area: null}")], r"budget_weights is not alike.*kind of budget"),
    ],
    ids=["absent", "panels", "budget"],
)
def test_a_start_that_does_not_fit_ends_in_a_sentence(store, changes, message):
    key = epochs(tiny())[-1].key
    study = changed(("fit.warm_start", key), *changes)
    with begin(study, store) as run:
        run.all(PlainStage("make_volumes"))
        run.all(PlainStage("transport_muons"))
        with pytest.raises(UserError, match=message):
            run.all(PlainStage("start_fit"))


def test_a_key_that_is_none_is_refused_when_the_study_is_read():
    with pytest.raises(UserError, match=r"fit\.warm_start: got \"abc\""):
        changed(("fit.warm_start", "abc"))
