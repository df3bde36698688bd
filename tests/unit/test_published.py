"""The study of the published table: its geometries, and what each compat setting does."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tests.unit.evaluation.samples import HEIGHTS, draws, predictions
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import Config
from tomopt_tasks.evaluation import EvaluationSettings, evaluate
from tomopt_tasks.evaluation.compare import Entry, compare
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.wrapper.build import build_loss, build_volume, build_wrapper
from tomopt_tasks.wrapper.scans import BankedPassives

FILE = Path(__file__).parents[2] / "data" / "studies" / "ladle_furnace_published.yaml"
SMALL = [
    ("muons.per_volume", "150"),
    ("evaluation.exposures", "[150]"),
    ("scenes.train.heights", "[0.7, 1.1]"),
    ("scenes.train.per_height", "2"),
    ("loss", "{kind: spread_range}"),
]
SWITCHES = {
    "muons.source.solid_angle": "true",
    "transport.log_term": "path",
    "transport.beta": "true",
    "transport.displacement_sign": "1",
    "detectors.baseline_1.panel.soft_resolution": "false",
    "inference.track_fit": "centred",
    "inference.detach_quantiles": "false",
    "inference.weighted_quantiles": "true",
    "evaluation.target_floor": "null",
}
"""Place of each compat setting -> its correct value."""
QUIRKS = {
    "inference.acceptance": "two_each_side",
    "detectors.baseline_1.panels": '{"below[1]": {efficiency: 1.0}}',
    "detectors.baseline_1.panels ": '{"above[1]": {smooth: 0.1}}',
}
"""Place of each other peculiarity -> what it is elsewhere."""


def published(*changes: tuple[str, str]) -> Study:
    return load_study(FILE, [*SMALL, *changes])


def bank(study: Study) -> BankedPassives:
    x0, target = make_scene(study.world, study.scenes.train, 1, "train")
    state, _ = transport(x0, study.world, study.muons, study.transport, 1, "train")
    return BankedPassives(x0, target, state)


def trained(study: Study) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of baseline 1 in training, and its gradient in the heights above."""
    volume = build_volume(study.world, study.detectors["baseline_1"])
    loss, callbacks = build_loss(study.loss)
    wrapper = build_wrapper(volume, study.inference, loss, {}, seed=1)
    passives = bank(study)
    wrapper.begin(callbacks, trn_passives=passives, passive_bs=len(passives), epoch=0)
    wrapper.fit_epoch()
    assert wrapper.fit_params.mean_loss is not None
    heights = [panel.z.grad for panel in volume.get_detectors()[0].panels]
    return wrapper.fit_params.mean_loss.detach().sum(), torch.cat(heights)


@pytest.fixture(scope="module")
def as_published() -> tuple[torch.Tensor, torch.Tensor]:
    return trained(published())


def test_the_study_judges_the_five_published_geometries_and_fits_nothing():
    study = load_study(FILE)
    assert study.compare == ("start", "stage_1", "stage_2", "baseline_1", "baseline_2")
    assert not study.fit.phases
    assert study.scenes.valid.n_volumes == study.scenes.test.n_volumes == 96
    names = {stage.name for stage in plan_study(study)}
    assert names == {"make_volumes", "transport_muons", "predict", "evaluate"}


def test_all_geometries_have_six_square_metres_and_the_quirks_of_the_published_code():
    for design in load_study(FILE).detectors.values():
        assert design.area == pytest.approx(6.0, rel=1e-12)
        assert [p.name for p in design.panels if p.efficiency == 1.0] == ["below[1]"]
        assert [p.name for p in design.panels if p.smooth == 0.1] == ["above[1]"]
        assert all(panel.soft_resolution for panel in design.panels)


@pytest.mark.parametrize(
    ("name", "sides"),
    [
        ("stage_1", [0.9658, 0.7725, 0.8012, 0.9377, 0.9168, 0.8488, 0.9222, 0.7333]),
        ("stage_2", [0.8376, 0.7317, 0.7542, 0.7629, 1.0234, 0.9305, 1.0448, 0.7793]),
    ],
)
def test_published_sides_are_kept_to_their_last_digit(name, sides):
    """They are rounded, so that their areas sum to the budget within 1e-4 only."""
    panels = load_study(FILE).detectors[name].panels
    assert [panel.span[0] for panel in panels] == pytest.approx(sides, abs=5e-5)


def settings_in(value: Any) -> Iterator[Config]:
    """Every settings object of a study."""
    inner: Any = ()
    if isinstance(value, Config):
        yield value
        inner = [getattr(value, name) for name in type(value).model_fields]
    elif isinstance(value, dict | tuple):
        inner = value.values() if isinstance(value, dict) else value
    for each in inner:
        yield from settings_in(each)


def test_every_compat_setting_is_on():
    """Those that say so of themselves; another one must be taken up here and in the study."""
    compat = {
        field
        for part in settings_in(load_study(FILE))
        for field, info in type(part).model_fields.items()
        if "compat" in (info.description or "")
    }
    assert compat == {place.rpartition(".")[2] for place in SWITCHES}
    before = load_study(FILE)
    for place, correct in SWITCHES.items():
        assert load_study(FILE, [(place, correct)]) != before


@pytest.mark.parametrize("place", [*SWITCHES, *QUIRKS])
def test_each_compat_setting_changes_what_it_is_about(place, as_published):
    loss, gradient = as_published
    new_loss, new_gradient = trained(published((place.strip(), (SWITCHES | QUIRKS)[place])))
    if place == "evaluation.target_floor":  # changes the judgement alone; see below
        assert_close((new_loss, new_gradient), (loss, gradient), rtol=0, atol=0)
        return
    assert float((new_gradient - gradient).abs().max()) > 1e-6 * float(gradient.abs().max())
    if place == "inference.detach_quantiles":
        assert_close(new_loss, loss, rtol=1e-12, atol=0)
    else:
        assert float((new_loss - loss).abs()) > 1e-7 * float(loss)


@pytest.mark.parametrize("place", [place for place in SWITCHES if place.startswith("transport")])
def test_each_setting_of_the_transport_changes_the_bank(place):
    before, after = (bank(published(*change)).state for change in ((), ((place, SWITCHES[place]),)))
    assert_close(after[..., :4], before[..., :4], rtol=0, atol=0)  # the same muons come in
    assert float((after[..., 4:8] - before[..., 4:8]).abs().max()) > 1e-6


def test_without_the_solid_angle_muons_come_too_steeply():
    steep, right = (
        bank(published(("muons.source.solid_angle", flag))).state for flag in ("false", "true")
    )
    tans = [state[..., 2:4].norm(dim=-1).mean() for state in (steep, right)]
    assert tans[0] < 0.9 * tans[1]


def test_the_published_labels_move_the_highest_ladle_down_one_layer_and_no_other():
    truth = np.array([0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3])
    bank = predictions(np.zeros(8), truth=truth)
    assert bank.floored(0.1).truth == pytest.approx([*truth[:-1], 1.2], abs=1e-7)
    assert bank.floored(None) is bank


@pytest.mark.parametrize("through", ["evaluate", "compare"])
def test_designs_are_calibrated_and_judged_by_the_published_labels(through):
    """An exact design errs by the wrong label alone.

    Truth 0.6 to 1.3 m in steps u = 0.1 m, label y = truth but for the last, which is one u less.
    The least-squares line of y on truth leaves sum e^2 = u^2 (1 - 1/8 - 3.5^2 / 42) = 0.58333 u^2,
    since only the last residual is -u, with leverage 1/8 + 3.5^2 / 42.
    """
    noiseless = {"a": predictions(0 * draws("floor", HEIGHTS.size))}
    settings = EvaluationSettings(bootstrap=100, target_floor=0.1)
    if through == "evaluate":
        mse = evaluate(noiseless, noiseless, settings, (), seed=1)["designs"]["a"]["mse"]
    else:
        pair = (noiseless["a"], noiseless["a"])
        mse = compare({"a": Entry({"-": pair})}, settings)["entries"]["a"]["mse"]
    assert mse == pytest.approx(0.1**2 * (1 - 1 / 8 - 3.5**2 / 42) / 8, rel=1e-5)
