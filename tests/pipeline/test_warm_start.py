"""A study starts from the detector that another run has exported."""

import pytest

from tests.pipeline.common import changed, tiny
from tomopt_tasks.config.load import load_detector
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.runs.outputs import report_folder


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
