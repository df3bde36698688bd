"""Plain numpy and the package agree on how muons fly and on what a detector makes of them."""

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp

from tests.benchmarks import independent
from tomopt_tasks.config.load import load_detector
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World
from tomopt_tasks.wrapper.build import build_volume, build_wrapper
from tomopt_tasks.wrapper.observers import PredictionRecord
from tomopt_tasks.wrapper.scans import BankedPassives

DETECTORS = independent.HUMAN.parent
N_MUONS = 1000


@pytest.fixture(scope="module")
def exposure():
    """Two ladles of each height."""
    return independent.expose(2, N_MUONS, seed=1)


def of_the_package(exposure, file, acceptance):
    """Predictions of the package for muons that numpy has flown."""
    rows = np.concatenate(
        [exposure.top, exposure.bottom, np.full((*exposure.top.shape[:2], 1), 5.0)], -1
    )
    height = torch.from_numpy(exposure.height)
    passives = BankedPassives(torch.ones(len(height), 10, 10, 10), height, torch.from_numpy(rows))
    volume = build_volume(World(), load_detector(file, World()))
    for panel in (panel for layer in volume.get_detectors() for panel in layer.panels):
        panel.resolution.fill_(1 / independent.SIGMA)
    settings = PocaZFillLevelSettings(acceptance=acceptance)
    wrapper = build_wrapper(volume, settings, None, {}, 1, fitting=False)
    record = PredictionRecord()
    wrapper.predict(passives, N_MUONS, N_MUONS, pred_cb=record)
    return record.get_preds().numpy()


@pytest.mark.parametrize("acceptance", ["two_each_side", "all_panels"])
@pytest.mark.parametrize("design", ["baseline_2", "human_tuned"])
def test_the_package_predicts_what_numpy_predicts_for_the_same_muons(
    exposure, design, acceptance, monkeypatch
):
    """With so little noise of the hits that both have the same; weights do not depend on it."""
    monkeypatch.setattr(independent, "SIGMA", 1e-9)
    file = DETECTORS / f"{design}.yaml"
    theirs = of_the_package(exposure, file, acceptance)
    how = independent.How(acceptance, missed=False, cut=False)
    rng = np.random.default_rng(2)  # noqa: TID251
    ours = [
        independent.level(independent.reconstruct(*pair, independent.panels_of(file), how, rng), 9)
        for pair in zip(exposure.top, exposure.bottom, strict=True)
    ]
    difference = theirs - np.array(ours)
    # [m]; the error of a prediction is 0.02. The quantiles that hold weights are defined otherwise
    assert np.median(np.abs(difference)) < 3e-4
    assert np.abs(difference).max() < 4e-3


def test_muons_leave_a_ladle_as_they_do_in_numpy():
    """Kolmogorov-Smirnov, five quantities, a false alarm in 2000 each; the streams are fixed."""
    heights = LadleFurnaceSettings(heights=(0.9,), per_height=8)
    x0, _ = make_scene(World(), heights, 1, "test")
    bank, _ = transport(
        x0, World(), MuonSettings(per_volume=2 * N_MUONS), HighlandSettings(), 1, "test"
    )
    theirs = bank.flatten(0, 1).numpy()
    rng = np.random.default_rng(3)  # noqa: TID251
    top = independent.aimed(len(theirs), rng)[None]
    bottom = independent.fly(top, np.array([0.9]), rng)
    ours = np.concatenate([top[0], bottom[0]], 1)

    def seen(rows):
        kick = rows[:, 6] - rows[:, 2]
        shift = rows[:, 4] - rows[:, 0] - rows[:, 2]
        inner = (np.abs(rows[:, :2] - 0.5) < 0.3).all(1) & (np.abs(rows[:, 2:4]) < 0.2).all(1)
        return rows[:, 0], rows[:, 2], kick, kick[inner], shift[inner] - 0.5 * kick[inner]

    for one, other in zip(seen(theirs), seen(ours), strict=True):
        assert ks_2samp(one, other).pvalue > 0.0005
