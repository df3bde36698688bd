"""Ctrl-C between any two updates, and the study ends with the bits of an undisturbed run."""

import os
import shutil
import signal
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest

from tests.pipeline.common import changed, flip_bit
from tomopt_tasks.core import UserError
from tomopt_tasks.interrupts import Stopped
from tomopt_tasks.losses.settings import LossSettings
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import PlainStage, begin
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.partial import EVERY, Partial
from tomopt_tasks.wrapper.settings import OptimiserSettings, ScheduleSettings

Change = tuple[str, str]


def kinds(union) -> list[str]:
    """Names of the members of a union of settings."""
    return [member.model_fields["kind"].default for member in get_args(get_args(union)[0])]


OPTIMISER = {
    "sgd": "{kind: sgd, momentum: 0.5}",
    "adam": "{kind: adam}",
}
SCHEDULE = {
    "constant": "{kind: constant}",
    "one_cycle": "{kind: one_cycle, length: 3, warmup: 1}",
}
LOSS: dict[str, list[Change]] = {
    "spread_range": [("loss", "{kind: spread_range}")],
    "expected_mse": [("loss", "{kind: expected_mse}")],
    "volume_mse": [("loss", "{kind: volume_mse}")],
    "volume_mse plain": [("loss", "{kind: volume_mse, correct: false}")],
    "voxel_x0": [("loss", "{kind: voxel_x0}"), ("inference", "{kind: voxel_x0}")],
}
OF_OTHER_SCENES = {"volume_class", "ladle_layer", "own"}
FEATURE: dict[str, list[Change]] = {
    "search of rates": [],
    "rates": [("fit.phases[0].find_rates", "null"), ("rates", "1e-3")],
    "smoothness": [("fit.smoothness", "[1.0, 0.3]")],
    "limits": [("fit.limits", "{xy: 1 mm, z: 1 mm}")],
    "ties": [("fit.parameters", "{z: {tie: rigid}, xy: {tie: all}}")],
    "mirror": [("fit.mirror", "true")],
    "guards": [("fit.guards", "{early: {patience: 9}, divergence: {factor: 1e6}}")],
}
CASES = [
    (optimiser, schedule, loss, feature)
    for row, loss in enumerate(LOSS)
    for column, feature in enumerate(FEATURE)
    for optimiser in [list(OPTIMISER)[(row + column) % 2]]
    for schedule in [list(SCHEDULE)[(row + column // 2) % 2]]
]
"""Every pair of loss and feature, and with them every pair of the others."""


def test_every_optimiser_schedule_and_loss_of_a_study_is_tested_here():
    assert set(OPTIMISER) == set(kinds(OptimiserSettings))
    assert set(SCHEDULE) == set(kinds(ScheduleSettings))
    assert {name.split()[0] for name in LOSS} == set(kinds(LossSettings)) - OF_OTHER_SCENES


def test_the_cases_hold_every_pair():
    for one, other in combinations(range(4), 2):
        names = [list(part) for part in (OPTIMISER, SCHEDULE, LOSS, FEATURE)]
        wanted = {(a, b) for a in names[one] for b in names[other]}
        assert {(case[one], case[other]) for case in CASES} == wanted


def study(optimiser: str, schedule: str, loss: str, feature: str):
    """The small study in two updates an epoch, with one of each."""
    names = ("xy.above", "xy.below", "z.above", "z.below", "side")
    settings = OPTIMISER[optimiser]
    more = dict(FEATURE[feature])
    if rate := more.pop("rates", ""):
        settings = settings.replace("}", f", rate: {rate}}}")
    optimisers = ", ".join(f"{name}: {settings}" for name in names)
    return changed(
        ("fit.volumes_per_step", "4"),
        ("scenes.train.per_height", "4"),
        ("fit.optimiser", f"{{{optimisers}}}"),
        ("fit.schedule", SCHEDULE[schedule]),
        *LOSS[loss],
        *more.items(),
    )


def last_checkpoint(store, planned) -> str:
    key = [stage.key for stage in plan_study(planned) if stage.kind == "checkpoint"][-1]
    ref = store.find("checkpoint", key)
    return "" if ref is None else ref.sha256


def fit(store, planned) -> None:
    """Everything up to the last epoch."""
    with begin(planned, store) as run:
        for name in ("make_volumes", "transport_muons", "start_fit", "fit_epoch"):
            run.all(PlainStage(name))


def interrupted_at(updates: Sequence[int], store, planned, monkeypatch) -> int:
    """Ctrl-C after each of these updates, counted over all processes; how often it stopped."""
    good, seen = Partial.between_steps, 0

    def between_steps(self, done, state):
        nonlocal seen
        seen += 1
        if seen in updates:
            os.kill(os.getpid(), signal.SIGINT)
        good(self, done, state)

    monkeypatch.setattr(Partial, "between_steps", between_steps)
    stops: list[Stopped] = []
    while not last_checkpoint(store, planned):
        try:
            fit(open_store(store.url), planned)
        except Stopped as stop:
            stops.append(stop)
    monkeypatch.undo()
    assert {(stop.at_once, stop.exit_code) for stop in stops} == {(False, 130)}
    return len(stops)


@pytest.fixture(scope="module")
def banks(tmp_path_factory) -> Path:
    """A store with the volumes and muons that all cases share."""
    store = open_store(tmp_path_factory.mktemp("banks") / "store")
    with begin(study(*CASES[0]), store) as run:
        run.all(PlainStage("make_volumes"))
        run.all(PlainStage("transport_muons"))
    return Path(store.url)


def copy(banks: Path, to: Path):
    shutil.copytree(banks, to)
    return open_store(to)


def resumes(case, banks, tmp_path, monkeypatch, updates: Sequence[int]) -> None:
    planned = study(*case)
    straight, broken = copy(banks, tmp_path / "straight"), copy(banks, tmp_path / "broken")
    fit(straight, planned)
    assert interrupted_at(updates, broken, planned, monkeypatch) == len(updates)
    assert last_checkpoint(broken, planned) == last_checkpoint(straight, planned)
    assert broken.keys("partial") == []


@pytest.mark.parametrize("case", CASES[::5], ids="-".join)
def test_a_fit_interrupted_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    case, banks, tmp_path, monkeypatch
):
    monkeypatch.setenv(EVERY, "60")
    resumes(case, banks, tmp_path, monkeypatch, (1, 2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_every_pair_of_optimiser_schedule_loss_and_feature_resumes(
    case, banks, tmp_path, monkeypatch
):
    resumes(case, banks, tmp_path, monkeypatch, (1, 3, 4))


def test_an_interval_of_no_minutes_commits_after_every_update_and_leaves_nothing(
    banks, tmp_path, monkeypatch
):
    planned = study(*CASES[1])
    straight, eager = copy(banks, tmp_path / "straight"), copy(banks, tmp_path / "eager")
    fit(straight, planned)
    monkeypatch.setenv(EVERY, "0")
    committed: list[str] = []
    good = Partial.clear

    def clear(self):
        committed.extend(eager.keys("partial"))
        good(self)

    monkeypatch.setattr(Partial, "clear", clear)
    fit(eager, planned)
    n_epochs = sum(stage.name == "fit_epoch" for stage in plan_study(planned))
    assert len(committed) == n_epochs  # two updates an epoch, one of them in its middle
    assert eager.keys("partial") == []
    assert last_checkpoint(eager, planned) == last_checkpoint(straight, planned)


def test_a_damaged_partial_record_costs_the_epoch_and_changes_nothing(banks, tmp_path, monkeypatch):
    planned = study(*CASES[2])
    straight, broken = copy(banks, tmp_path / "straight"), copy(banks, tmp_path / "broken")
    fit(straight, planned)
    good = Partial.between_steps

    def stop(self, done, state):
        os.kill(os.getpid(), signal.SIGTERM)
        good(self, done, state)

    monkeypatch.setattr(Partial, "between_steps", stop)
    with pytest.raises(Stopped) as stopped:
        fit(broken, planned)
    assert stopped.value.exit_code == 143
    monkeypatch.undo()
    (path,) = Path(broken.url, "partial").glob("??/*")
    flip_bit(path)
    fit(open_store(broken.url), planned)
    assert last_checkpoint(broken, planned) == last_checkpoint(straight, planned)


def test_minutes_that_are_none_are_a_sentence(banks, tmp_path, monkeypatch):
    monkeypatch.setenv(EVERY, "often")
    with pytest.raises(UserError, match="is not a number of minutes"):
        fit(copy(banks, tmp_path / "store"), study(*CASES[0]))
