import csv
import io

import pytest

from tests.unit.reports.report_example import geometry, panel
from tomopt_tasks.config.constraints import Constraints
from tomopt_tasks.config.detector_file import GroupedDetector
from tomopt_tasks.config.document import parse_document
from tomopt_tasks.config.resolve import resolve_detector
from tomopt_tasks.reports.export import detector_csv, detector_table, detector_yaml
from tomopt_tasks.volume.settings import World

WORLD = World(size=(1.0, 1.0), passive=(0.4, 1.4), voxel=0.1, height=1.8)


def read_back(text):
    """Panels of a detector file, as a study reads it (no budget: sides stay)."""
    document = parse_document(text, "detector.yaml")
    written = GroupedDetector.model_validate(document.data)
    return resolve_detector(written, WORLD, Constraints(area=None)).detector.panels


def assert_same(panels, expected):
    assert [p.name for p in panels] == [p["name"] for p in expected]
    for got, want in zip(panels, expected, strict=True):
        for key in ("kind", "z", "efficiency", "m2_cost", "smooth"):
            assert getattr(got, key) == want[key], (got.name, key)
        assert got.resolution == pytest.approx(want["resolution"], rel=1e-15)
        assert list(got.xy) == want["xy"]
        assert list(got.span) == want["span"]


@pytest.mark.parametrize("name", ["start", "fit", "baseline_1", "baseline_2"])
def test_a_study_reads_the_same_panels_from_the_yaml(name):
    assert_same(read_back(detector_yaml(geometry(name))), geometry(name))


def test_panels_that_differ_from_the_others_stay_different():
    panels = geometry("fit")
    panels[1] |= {"smooth": 1.0, "efficiency": 1.0}
    panels[5] |= {"span": [0.7, 0.9], "resolution": 1e3}
    assert_same(read_back(detector_yaml(panels)), panels)


def test_odd_numbers_come_back_with_the_same_bits():
    panels = [panel("above", 0, 1 / 3, 1.4 + 1e-5, 0.1 + 0.2), panel("below", 0, 1e-5, 0.3, 2 / 3)]
    assert_same(read_back(detector_yaml(panels)), panels)


def test_comment_cannot_end_the_comment():
    text = detector_yaml(geometry("fit"), comment="one\ngroups: {}")
    assert text.startswith("# one\n# groups: {}\n")
    assert_same(read_back(text), geometry("fit"))


def test_csv_holds_centres_and_half_lengths_in_mm():
    rows = list(csv.DictReader(io.StringIO(detector_csv(geometry("fit")))))
    assert len(rows) == 8
    assert rows[0] == {
        "panel": "above[0]", "x_mm": "494.000", "y_mm": "494.000", "z_mm": "1405.300",
        "half_x_mm": "418.800", "half_y_mm": "418.800", "area_m2": "0.701574",
    }  # fmt: skip
    assert rows == detector_table(geometry("fit"))
