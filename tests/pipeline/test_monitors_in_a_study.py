"""Films of a fit that a report is asked for show the rows of the store, and run nothing."""

import base64
import io
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.pipeline.common import TINY, changed, counted, flip_bit
from tomopt_tasks.callbacks.history import panel_views
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.report_settings import MONITORS
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.plotting import heatmap, history
from tomopt_tasks.reports import monitors
from tomopt_tasks.reports.monitors import films
from tomopt_tasks.runs.command import result
from tomopt_tasks.runs.outputs import write_report
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.wrapper.checkpoint import restore_volume

HEAT_MAPS = Path(__file__).with_name("heat_maps.yaml")


def asked(*monitors_):
    return ("report.monitors", f"[{', '.join(f'{{{each}}}' for each in monitors_)}]")


@pytest.fixture(scope="module")
def ran(finished, tmp_path_factory):
    """A copy of the store of the small study."""
    folder = shutil.copytree(finished[0], tmp_path_factory.mktemp("films") / "store")
    return open_store(folder)


def results(store, *changes):
    """What a report of the study shows; nothing runs."""
    study = changed(*changes)
    with counted() as bodies, begin(study, store, request=Request(str(TINY), dict(changes))) as run:
        run_all(run)
    assert bodies == []
    return results_of(store, run.id), run.id


def frames(film):
    with Image.open(io.BytesIO(film)) as image:
        return [
            (image.seek(n), image.info["duration"])[1] for n in range(getattr(image, "n_frames", 1))
        ]


@pytest.fixture
def made(monkeypatch):
    """The films that are made: their length and their figures, which no time is spent on."""
    seen = []

    def film_of(figures, length):
        seen.append((length, list(figures)))
        return b"a film"

    monkeypatch.setattr(monitors, "film_of", film_of)
    return seen


@pytest.fixture
def drawn(monkeypatch, made):
    """The histories that are drawn."""
    seen = []
    draw = history.plot_optimisation_history

    def keep(each):
        seen.append(each)
        return draw(each)

    monkeypatch.setattr(history, "plot_optimisation_history", keep)
    return seen


def checkpoints(study, store):
    found = [stage for stage in plan_study(study) if stage.kind == "checkpoint"]
    return [store.get_record(store.find("checkpoint", stage.key)) for stage in found]


def test_a_film_has_the_losses_of_the_rows_and_a_picture_of_each_moment(ran, drawn, made):
    data, _ = results(ran, asked("kind: metric_logger, length: 3 s"))
    assert films(data) == {"metric_logger": b"a film"}
    [(length, figures)] = made
    assert length == 3.0
    losses = [tree["row"]["loss"] for tree in checkpoints(changed(), ran)][1:]
    assert [list(each.training) for each in drawn] == [losses[:n] for n in range(6)]
    assert {len(each.panels) for each in drawn} == {0}
    assert all(len(figure.axes) == 1 for figure in figures)  # no composition that nobody kept


def test_panels_are_drawn_where_a_logger_of_a_notebook_sees_them(ran, drawn):
    films(results(ran, asked("kind: panel_metric_logger"))[0])
    trees = checkpoints(changed(), ran)
    assert len(drawn) == len(trees)
    for each, tree in zip(drawn, trees, strict=True):
        views = panel_views(restore_volume(tree).get_detectors())
        for mine, theirs in zip(each.panels, views, strict=True):
            assert (mine["pos"], mine["xy"], mine["z"]) == (
                theirs["pos"],
                theirs["xy"],
                theirs["z"],
            )
            assert mine["span"] == pytest.approx(theirs["span"])
    assert drawn[0].box == {"lw": [1.0, 1.0], "z": [0.4, 1.4]}


@pytest.mark.parametrize(
    ("pictures", "shown"), [(1, [5]), (2, [0, 5]), (3, [0, 2, 5]), (6, [0, 1, 2, 3, 4, 5])]
)
def test_fewer_pictures_are_spread_from_the_start_to_the_end(ran, drawn, pictures, shown):
    films(results(ran, asked(f"kind: metric_logger, pictures: {pictures}"))[0])
    assert [len(each.training) for each in drawn] == shown


def test_a_fit_is_shown_up_to_where_it_was_stopped_with_gaps_where_there_is_no_loss(ran, drawn):
    data, _ = results(ran, asked("kind: metric_logger"))
    rows = [dict(row) for row in data.history]
    rows[1]["loss"], rows[1]["valid"], rows[2]["stopped"] = None, 0.3, True
    films(replace(data, history=rows))
    last = drawn[-1]
    assert list(last.training) == [rows[0]["loss"], np.inf, rows[2]["loss"]]
    assert list(last.validation) == [np.inf, 0.3, np.inf]


def test_metrics_are_drawn_below_the_losses_the_main_one_first(ran, drawn, made):
    data, _ = results(ran, asked("kind: metric_logger, pictures: 1"))
    about = {"lower_is_better": False, "main": False}
    rows = [
        {
            **row,
            "metrics": {
                "seen": {**about, "value": n or None},
                "rms": {"value": 9.0 - n, "lower_is_better": True, "main": True},
            },
        }
        for n, row in enumerate(data.history)
    ]
    films(replace(data, history=rows))
    assert {name: list(values) for name, values in drawn[-1].metrics.items()} == {
        "rms": [9.0, 8.0, 7.0, 6.0, 5.0],
        "seen": [np.inf, 1, 2, 3, 4],
    }
    assert drawn[-1].lower_is_better == {"seen": False, "rms": True}
    assert [len(figure.axes) for _, figures in made for figure in figures] == [2]


def test_films_are_in_the_page_and_beside_it_and_are_made_again_where_one_is_lost(ran):
    _, run = results(ran, asked("kind: metric_logger, pictures: 2", "kind: panel_metric_logger, "
                                "pictures: 1, length: 2 s"))  # fmt: skip
    outputs = write_report(ran, run)
    assert list(outputs.films) == ["metric_logger", "panel_metric_logger"]
    embedded = re.findall(r"data:image/gif;base64,([^\"]+)", outputs.report.read_text())
    files = [path.read_bytes() for path in outputs.films.values()]
    assert [base64.b64decode(text) for text in embedded] == files
    assert [frames(film) for film in files] == [[5000, 5000], [2000]]
    assert [line for line in result(outputs).lines if line.startswith("film")] == [
        f"film      {path}" for path in outputs.films.values()
    ]
    for damage in (Path.unlink, flip_bit):
        damage(outputs.films["metric_logger"])
        assert write_report(ran, run, again=False).films == outputs.films
        assert [path.read_bytes() for path in outputs.films.values()] == files


def test_a_report_that_is_no_longer_asked_for_films_has_none(ran):
    _, run = results(ran, asked("kind: metric_logger, pictures: 1"))
    [film] = write_report(ran, run).films.values()
    assert film.exists()
    _, run = results(ran)
    outputs = write_report(ran, run)
    assert film.parent == outputs.report.parent
    assert outputs.films == {}
    assert 'id="films"' not in outputs.report.read_text()
    assert not list(outputs.report.parent.glob("*.gif"))


def test_the_film_of_a_heat_map_shows_the_map_of_each_checkpoint(tmp_path, monkeypatch, made):
    film = asked("kind: heat_map_gif", "kind: panel_metric_logger")
    study = load_study(HEAT_MAPS, [film, ("fit.phases", "[{name: fit, epochs: 1}]")])
    study = study.model_copy(update={"compare": ("fit",)})
    store, seen = open_store(tmp_path / "store"), []
    with begin(study, store, request=Request(str(HEAT_MAPS))) as run:
        run_all(run)
    monkeypatch.setattr(heatmap, "plot_response_map", seen.append)
    films(results_of(store, run.id))
    assert [len(figures) for _, figures in made] == [2, 2]
    found = [stage for stage in plan_study(study) if stage.kind == "checkpoint"]
    trees = [store.get_record(store.find("checkpoint", stage.key)) for stage in found]
    maps = [heatmap.response_map(restore_volume(tree).get_detectors()[0].panels[0])
            for tree in trees]  # fmt: skip
    assert len(seen) == len(maps) == 2
    for mine, theirs in zip(seen, maps, strict=True):
        torch.testing.assert_close(mine["values"], theirs["values"])
        assert mine["extent"] == pytest.approx(theirs["extent"])
    assert not torch.allclose(seen[0]["values"], seen[1]["values"])


def test_every_monitor_has_a_film():
    assert set(MONITORS) == set(monitors.WORDS) == set(monitors._DRAW)
