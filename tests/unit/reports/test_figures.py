import copy
import xml.etree.ElementTree as ET
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.unit.reports.report_example import STUDY, history
from tomopt_tasks.reports.data import design_label, shown_designs
from tomopt_tasks.reports.exposure import exposure_figure
from tomopt_tasks.reports.forest import forest_figure, forest_rows
from tomopt_tasks.reports.history import history_figure, loss_figure
from tomopt_tasks.reports.objects import object_figure
from tomopt_tasks.reports.predicted import predicted_figure
from tomopt_tasks.reports.scene import scene_in_mm, tracks_in_mm
from tomopt_tasks.reports.side_view import side_view_figure
from tomopt_tasks.reports.solid import detector_faces, project, solid_svg
from tomopt_tasks.reports.style import SERIES_COLOURS, THEME, inline_svg, series, svg_of
from tomopt_tasks.reports.waterfall import waterfall_figure

FIGURES = {
    "forest": lambda r: forest_figure(forest_rows(r.evaluation), "baseline 1"),
    "side": lambda r: side_view_figure(r.study, r.predictions, shown_designs(r.evaluation)),
    "exposure": lambda r: exposure_figure(r.evaluation),
    "waterfall": lambda r: waterfall_figure(r.evaluation),
    "history": lambda r: history_figure(r.history, (500.0, 500.0)),
    "loss": lambda r: loss_figure(r.history),
    "predicted": lambda r: predicted_figure(r.evaluation, r.predictions),
}


def texts(figure):
    root = ET.fromstring(svg_of(figure, salt="test"))
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_a_light_picture_and_leaves_the_style_alone(report, name):
    before = dict(mpl.rcParams)
    figure = FIGURES[name](report)
    assert isinstance(figure, Figure)
    check_inline(inline_svg(figure, salt=name, alt='a "picture"'))
    assert dict(mpl.rcParams) == before


def check_inline(text):
    """The picture is XML, follows the colours of the page and reaches for nothing."""
    ET.fromstring(text.replace("xlink:href", "href"))
    assert "http" not in text
    assert "<metadata" not in text
    assert 'aria-label="a &quot;picture&quot;"' in text
    assert not [colour for colour in (*THEME, *SERIES_COLOURS) if colour in text]


def test_forest_names_every_design_with_its_ratio_and_puts_the_far_one_at_the_edge(evaluation):
    shown = " ".join(texts(forest_figure(forest_rows(evaluation), "baseline 1")))
    for name, pair in evaluation["paired"].items():
        assert design_label(name) in shown
        assert f"{pair['ratio']:.3g}"[:4] in shown
    assert "off the scale: 25.2" in shown


def test_forest_of_a_single_tie_keeps_the_line_at_one_inside(evaluation):
    (row,) = [row for row in forest_rows(evaluation) if row.label == "baseline 2"]
    (ax,) = forest_figure([row], "baseline 1").axes
    low, high = ax.get_xlim()
    assert low < min(1, row.low)
    assert high > max(1, row.high)


def test_forest_has_room_for_a_much_better_design(evaluation):
    changed = copy.deepcopy(evaluation)
    changed["paired"]["fit"] |= {"ratio": 0.02, "low": 0.01, "high": 0.03}
    assert any("off the scale: 0.0200" in text for text in texts(
        forest_figure(forest_rows(changed), "baseline 1")))  # fmt: skip


def test_side_view_is_to_scale(report):
    figure = side_view_figure(report.study, report.predictions, ["start", "fit"])
    side = figure.axes[0]
    assert side.get_aspect() == 1.0
    assert side.get_xlim() == (-500.0, 1500.0)
    drawn = [line.get_xydata() for line in side.lines if line.get_solid_capstyle() == "butt"]
    panels = report.predictions["start"].geometry
    for points, panel in zip([d for d in drawn if len(d) == 2][-8:], panels, strict=True):
        half = 500 * panel["span"][0]
        np.testing.assert_allclose(points[:, 0], [-half, half])
        np.testing.assert_allclose(points[:, 1], 1000 * panel["z"])


def test_side_view_of_a_design_that_accepts_nothing_is_drawn(report):
    blind = replace(
        report.predictions["fit"],
        track_accepted=np.zeros(200, bool),
        accepted_map=np.zeros((40, 40), np.int64),
        accepted=np.zeros(200, np.int64),
    )
    shown = texts(side_view_figure(report.study, {"fit": blind}, ["fit"]))
    assert "accepts 0 %" in shown


def test_exposure_marks_a_bias_below_its_noise_rather_than_dropping_it(evaluation):
    assert evaluation["designs"]["fit"]["exposure"][-1]["bias2"] < 1e-5
    figure = exposure_figure(evaluation)
    bottom = figure.axes[2].get_ylim()[0]
    marks = [line for line in figure.axes[2].lines if line.get_marker() == "v"]
    assert len(marks) == 1
    assert marks[0].get_ydata()[0] > bottom


def test_one_exposure_is_enough(evaluation):
    changed = copy.deepcopy(evaluation)
    for design in changed["designs"].values():
        design["exposure"] = design["exposure"][-1:]
    assert "∝ 1 / time" not in texts(exposure_figure(changed))


def test_waterfall_shows_muons_per_volume(evaluation):
    shown = texts(waterfall_figure(evaluation))
    assert shown.count("2 480") == 4
    assert shown.count("1 000  (40 %)") == 4


def test_history_needs_nothing_but_the_loss(report):
    bare = [{"loss": row["loss"]} for row in history()]
    assert texts(history_figure(bare)).count("not recorded") == 5
    assert "no epoch was fitted" in texts(history_figure([]))


def test_history_marks_phases_and_counts_epochs_from_one(report):
    figure = history_figure(report.history)
    assert {"coarse", "fine"} <= set(texts(figure))
    assert figure.axes[0].lines[0].get_xdata()[0] == 1.0


def test_metrics_are_drawn_in_their_own_units_with_their_best_value():
    def metrics(row):
        value = row["loss"] if row["epoch"] != 3 else None
        return {
            "rms": {"value": value, "lower_is_better": True, "main": True},
            "seen": {"value": 1 / row["loss"], "lower_is_better": False, "main": False},
        }

    rows = [row | {"metrics": metrics(row)} for row in history()]
    losses = [row["loss"] for row in rows]
    for figure in (history_figure(rows), loss_figure(rows)):
        named = {ax.get_title(loc="left"): ax for ax in figure.axes}
        assert len(named["rms"].lines[0].get_xdata()) == len(rows) - 1
        assert list(named["rms"].lines[1].get_ydata()) == [min(losses)] * 2
        assert list(named["seen"].lines[1].get_ydata()) == [1 / min(losses)] * 2
        assert not [ax for ax in figure.axes if ax.axison and not ax.lines]


def test_a_loss_that_is_not_positive_is_not_put_on_a_logarithmic_axis():
    rows = [{"epoch": 0, "phase": "a", "loss": 0.5}, {"epoch": 1, "phase": "a", "loss": -0.5}]
    assert loss_figure(rows).axes[0].get_yscale() == "linear"


def test_many_designs_fit_on_the_page_and_the_judged_one_is_among_them(report):
    changed = copy.deepcopy(dict(report.evaluation))
    old = changed["designs"]
    changed["designs"] = {f"grid_{k}": copy.deepcopy(old["baseline_2"]) for k in range(9)} | old
    assert "optimised" in texts(predicted_figure(changed, report.predictions))
    waterfall_figure(changed)
    assert len({look.colour for look in series(changed["designs"]).values()}) == 10


def test_ladle_is_drawn_half_full_in_mm():
    scene = scene_in_mm(STUDY)
    bath = next(box for box in scene.boxes if box.role == "bath")
    slag = next(box for box in scene.boxes if box.role == "slag")
    assert (bath.low, bath.high) == ((100, 100, 500), (900, 900, 950))
    assert (slag.low[2], slag.high[2]) == (950, 1050)
    assert scene.levels == (600, 1300)
    assert (scene.bottom, scene.top, scene.height) == (400, 1400, 1800)


def test_other_scenes_are_an_empty_box():
    scene = scene_in_mm({**STUDY, "scenes": {"test": {"kind": "cargo"}}})
    assert scene.boxes == ()
    assert scene.levels is None


def test_tracks_fly_down_along_their_slopes():
    # enters at x = 500 mm with slope 0.1 per unit of depth, leaves at 620 mm with 0.2
    track = np.array([[0.5, 0.5, 0.1, 0.0, 0.62, 0.5, 0.2, 0.0, 5.0]])
    path = tracks_in_mm(track, scene_in_mm(STUDY))[0]
    np.testing.assert_allclose(path[:, 0], [500 - 40, 500, 620, 620 + 80])
    np.testing.assert_allclose(path[:, 2], [1800, 1400, 400, 0])


def test_turning_keeps_lengths_and_puts_up_on_top():
    points = np.array([[0.0, 0, 0], [3, 4, 12], [0, 0, 1]])
    for yaw, pitch in ((0.0, 0.0), (0.55, 0.28), (2.0, -1.0)):
        seen = project(points, yaw, pitch)
        np.testing.assert_allclose(np.linalg.norm(seen, axis=1), [0, 13, 1], rtol=1e-12)
    assert project(points)[2, 1] < 0


def test_space_picture_has_every_panel_with_its_place(report):
    scene = scene_in_mm(report.study)
    faces = detector_faces(scene, report.predictions["fit"].geometry, report.predictions["fit"])
    root = ET.fromstring(solid_svg(faces, scene, colour="red", alt="x"))
    panels = [node for node in root if node.get("class") == "panel"]
    assert len(panels) == 8
    assert {node[0].text for node in panels} >= {"above[0]: z 1405 mm, 838 by 838 mm"}
    assert len([node for node in root if node.get("class") == "volume"]) == 12
    assert len([node for node in root if node.get("class") == "track"]) == 10


@pytest.mark.parametrize("classes", [False, True])
def test_an_object_is_drawn_layer_by_layer_beside_its_predictions(classes):
    truth = np.full((6, 4, 5), 2.0 if classes else 0.3)
    truth[3, 1:, 2:] = 1.0 if classes else 0.0056
    grids = {"start": truth * 1.1, "fit": np.where(truth > 1, truth, np.nan)}
    figure = object_figure(truth, grids, ["start", "fit"], classes=classes)
    images = [axis for axis in figure.axes if axis.images]
    assert len(images) == 4 * 3
    assert [axis.get_title("left") for axis in images[:3]] == ["true", "initial", "optimised"]
    assert images[0].get_ylabel() == "layer 6 of 6"
    shown = np.ma.getdata(images[6].images[0].get_array())
    assert shown.shape == (5, 4)
