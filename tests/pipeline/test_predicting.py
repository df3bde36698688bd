"""A user's own object is predicted with a detector of a finished run."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.pipeline.common import tiny
from tomopt_tasks.cli import app
from tomopt_tasks.core import UserError
from tomopt_tasks.runs.manifest import find_run
from tomopt_tasks.runs.predicting import predict_object, read_object
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import World


@pytest.fixture
def ladles(tmp_path) -> Path:
    """The test ladles of the study as a file of somebody's."""
    study = tiny()
    x0, _ = make_scene(study.world, study.scenes.test, 1, "test")
    np.savez(tmp_path / "ladles.npz", x0=x0.numpy())
    return tmp_path / "ladles.npz"


def test_fuller_ladles_are_seen_as_fuller_on_the_scale_of_the_targets(store, ladles):
    answer = predict_object(store, find_run(store, "tiny"), ladles, "baseline_1")
    low, high = answer.values[::2].mean(), answer.values[1::2].mean()  # 0.7 m and 1.1 m in turn
    assert answer.values.shape == (6,)
    assert answer.grids is None
    assert low + 0.05 < high
    assert 0.4 < low < high < 1.4
    assert 0 < answer.accepted <= 6 * 60


def test_the_same_object_gives_the_same_answer_and_designs_give_others(store, ladles):
    run = find_run(store, "tiny")
    first, second = (predict_object(store, run, ladles).values for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, predict_object(store, run, ladles, "baseline_1").values)


def test_the_command_prints_and_writes_the_answer(store, ladles, tmp_path):
    out = tmp_path / "answer.npz"
    words = ["predict", str(ladles), "--with", "tiny", "--store", store.url, "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "object 5: prediction" in result.output
    assert np.load(out)["prediction"].shape == (6,)


def test_a_design_that_the_run_has_not_is_refused(store, ladles):
    with pytest.raises(UserError, match="its designs are start, fit, baseline_1"):
        predict_object(store, find_run(store, "tiny"), ladles, "best")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.ones((10, 10, 10))}, "has neither x0 nor material"),
        ({"x0": np.ones((5, 10, 10))}, r"grids have \(5, 10, 10\) voxels .*, but the world has"),
        ({"x0": np.zeros((10, 10, 10))}, "radiation lengths must be > 0 m"),
        ({"x0": np.array([None, {}])}, "is no npz file with the array x0"),
    ],
)
def test_a_bad_object_ends_in_a_sentence(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=message):
        read_object(tmp_path / "bad.npz", World())


def test_a_file_that_is_missing_or_no_npz_ends_in_a_sentence(tmp_path):
    (tmp_path / "text.npz").write_text("x0")
    for name, says in (("text.npz", "is no npz file"), ("absent.npz", "no such file")):
        with pytest.raises(UserError, match=says):
            read_object(tmp_path / name, World())


def test_the_flow_gives_what_the_command_gives(store, ladles):
    from flows.predict import predict  # noqa: PLC0415 - Prefect takes a second

    found = predict.fn(str(ladles), "tiny", store=store.url)
    assert found == predict_object(store, find_run(store, "tiny"), ladles).values.tolist()
