"""Ctrl-C between any two updates, and the study ends with the bits of an undisturbed run."""

import os
import shutil
import signal
from collections.abc import Sequence
from itertools import combinations, product
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
from tomopt_tasks.wrapper.callback_settings import CALLBACKS
from tomopt_tasks.wrapper.optimiser_settings import OPTIMISERS
from tomopt_tasks.wrapper.schedule_settings import SCHEDULES

Change = tuple[str, str]


def kinds(union) -> list[str]:
    """Names of the members of a union of settings."""
    return [member.model_fields["kind"].default for member in get_args(get_args(union)[0])]


OF_OPTIMISER = {
    "sgd": ", momentum: 0.5, nesterov: true",
    "rmsprop": ", momentum: 0.5, centred: true",
    "adam": ", amsgrad: true",
    "adagrad": ", rate_decay: 0.1",
    "asgd": ", average_after: 1",
}
OPTIMISER = {kind: f"{{kind: {kind}{OF_OPTIMISER.get(kind, '')}}}" for kind in OPTIMISERS}
OF_SCHEDULE = {
    "constant": "",
    "linear": ", length: 3",
    "step": ", length: 3, warmup: 1, every: 1",
}
SCHEDULE = {
    kind: f"{{kind: {kind}{OF_SCHEDULE.get(kind, ', length: 3, warmup: 1')}}}" for kind in SCHEDULES
}
LOSS: dict[str, list[Change]] = {
    "spread_range": [("loss", "{kind: spread_range}")],
    "expected_mse": [("loss", "{kind: expected_mse}")],
    "volume_mse": [("loss", "{kind: volume_mse}")],
    "volume_mse plain": [
        ("loss", "{kind: volume_mse, correct: false, target_budget: 5}"),
        ("constraints", "{area: null}"),
        ("fit.phases[0].callbacks", "[{kind: cost_coef_warmup}, {kind: linear_correction}]"),
        ("fit.phases[1].callbacks", "[{kind: linear_correction}, {kind: calibrated_rmse}]"),
    ],
    "voxel_x0": [("loss", "{kind: voxel_x0}"), ("inference", "{kind: voxel_x0}")],
}
OF_OTHER_SCENES = {"volume_class", "voxel_class", "volume_int_class", "ladle_layer", "own"}
WITH_A_LOSS = {"cost_coef_warmup", "linear_correction", "calibrated_rmse"}
BUILT_IN = sorted(set(CALLBACKS) - {"own"} - WITH_A_LOSS)
FEATURE: dict[str, list[Change]] = {
    "search of rates": [],
    "rates": [("fit.phases[0].find_rates", "null"), ("rates", "1e-3")],
    "smoothness": [("fit.smoothness", "[1.0, 0.3]")],
    "limits": [("fit.limits", "{xy: 1 mm, z: 1 mm}")],
    "ties": [("fit.parameters", "{z: {tie: rigid}, xy: {tie: all}}")],
    "mirror": [("fit.mirror", "true")],
    "guards": [("fit.guards", "{early: {patience: 9}, divergence: {factor: 1e6}}")],
    "validation": [("fit.watch", "valid"), ("fit.callbacks", "[{kind: best_keeper}]")],
    "callbacks": [("fit.callbacks", f"[{', '.join(f'{{kind: {k}}}' for k in BUILT_IN)}]")],
}
Case = tuple[str, ...]


def possible(optimiser: str, schedule: str) -> bool:
    """Schedules have no hold on rprop; a study that wants it is refused."""
    return optimiser != "rprop" or schedule == "constant"


def pairs_of(case: Case) -> set[tuple[int, str, int, str]]:
    """Each pair of parts, with their places."""
    return {(i, case[i], j, case[j]) for i, j in combinations(range(len(case)), 2)}


def covering() -> list[Case]:
    """Few cases that hold every pair of parts that can go together, found greedily."""
    parts = (OPTIMISER, SCHEDULE, LOSS, FEATURE)
    every = [case for case in product(*parts) if possible(*case[:2])]
    left = set().union(*(pairs_of(case) for case in every))
    found: list[Case] = []
    while left:
        found.append(max(every, key=lambda case: len(pairs_of(case) & left)))
        left -= pairs_of(found[-1])
    return found


CASES = covering()
NEW = [c for i, c in enumerate(CASES) if set(c) - set().union(*CASES[:i])]
"""The first cases that hold every part."""


def test_every_loss_of_a_study_is_tested_here():
    assert {name.split()[0] for name in LOSS} == set(kinds(LossSettings)) - OF_OTHER_SCENES


def test_the_cases_hold_every_pair():
    held = set().union(*(pairs_of(case) for case in CASES))
    parts = (OPTIMISER, SCHEDULE, LOSS, FEATURE)
    wanted = set().union(*(pairs_of(case) for case in product(*parts) if possible(*case[:2])))
    assert held == wanted
    assert len(CASES) < 2 * len(OPTIMISER) * len(FEATURE)


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


@pytest.mark.parametrize("case", NEW, ids="-".join)
def test_a_fit_interrupted_in_the_middle_of_an_epoch_ends_with_the_same_bits(
    case, banks, tmp_path, monkeypatch
):
    monkeypatch.setenv(EVERY, "60")
    resumes(case, banks, tmp_path, monkeypatch, (1, 2, 4))


@pytest.mark.long
@pytest.mark.parametrize("case", [c for c in CASES if c not in NEW], ids="-".join)
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
