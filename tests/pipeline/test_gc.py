"""gc gives up what nobody needs, keeps what somebody does, and the curves survive."""

import os
import time

import pytest

from tests.pipeline.common import changed, counted, fake_bodies, tiny
from tomopt_tasks.commands.gc import Policy, gc, pin
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.lookup import look_up
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.results import results_of
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

LONG = ("fit.phases[0].epochs", "12")  # with the search and the second phase 15 epochs
STUDY = changed(LONG)


def keys(study) -> dict[str, str]:
    return {stage.label: stage.key for stage in plan_study(study)}


def run(study, store) -> list[str]:
    """Labels of the stages whose body ran."""
    labels = {key: label for label, key in keys(study).items()}
    with counted() as ran, begin(study, store) as running:
        run_all(running)
    return [labels[key] for key in ran]


def age(store, hours: float = 25) -> None:
    then = time.time() - hours * 3600
    for path in store.backend.listing(""):
        os.utime(store.backend.root / path, (then, then))


def epochs_left(store, study=STUDY) -> set[int]:
    """Numbers of the checkpoints that are stored; 0 is the start."""
    stored = set(store.keys("checkpoint"))
    chain = [s for s in plan_study(study) if s.kind == "checkpoint"]
    return {number for number, stage in enumerate(chain) if stage.key in stored}


def statuses(store, study=STUDY) -> dict[str, str]:
    steps = look_up(plan_study(study), store, study.study)
    return {
        step.stage.label: "retired" if step.retired else "cached" if step.ref else "will run"
        for step in steps
    }


@pytest.fixture
def old(tmp_path, fake_bodies):
    """A store in which a longer study has run, a day ago; the loss falls with every epoch."""
    store = open_store(tmp_path / "old")
    run(STUDY, store)
    age(store)
    return open_store(store.url)


def test_by_default_nothing_is_deleted(old):
    before = old.backend.listing("").keys()
    said = gc(old, Policy())
    assert len(said.data["given_up"]) == 13
    assert "--apply does it" in said.lines[-1]
    assert old.backend.listing("").keys() == before


@pytest.mark.parametrize(
    ("policy", "left"),
    [
        (Policy(last=1, best=0), {15}),
        (Policy(last=3, best=0), {13, 14, 15}),
        (Policy(last=1, best=2), {14, 15}),
        (Policy(last=1, best=0, every=5), {0, 5, 10, 15}),
    ],
)
def test_the_last_the_best_and_every_mth_checkpoint_stay(old, policy, left):
    gc(old, policy, apply=True)
    assert epochs_left(old) == left


def test_only_checkpoints_of_a_fit_go(old):
    before = {kind: old.keys(kind) for kind in ("volumes", "bank", "predictions", "evaluation")}
    gc(old, Policy(last=1, best=0), apply=True)
    assert {kind: old.keys(kind) for kind in before} == before


def test_the_best_is_that_with_the_lowest_loss(tmp_path, fake_bodies):
    good = fake_bodies["fit_epoch"]

    def dip(store, key, inputs, parents):
        if inputs.epoch != 6:
            return good(store, key, inputs, parents)
        return store.put_record("checkpoint", key, {"epoch": 6}, {"loss": 0.001})

    fake_bodies["fit_epoch"] = dip
    store = open_store(tmp_path / "dip")
    run(STUDY, store)
    age(store)
    gc(store, Policy(last=1, best=1), apply=True)
    assert epochs_left(store) == {7, 15}


def test_after_gc_the_study_is_complete_and_its_curve_is_whole(old):
    before = [row["loss"] for row in losses(old)]
    gc(old, Policy(last=1, best=0), apply=True)
    again = open_store(old.url)
    found = statuses(again)
    assert set(found.values()) == {"cached", "retired"}
    assert sum(status == "retired" for status in found.values()) == 15
    assert run(STUDY, again) == []
    assert [row["loss"] for row in losses(again)] == before
    with begin(STUDY, again) as running:
        run_all(running)
    assert [row["loss"] for row in running.history] == before


def losses(store):
    from tomopt_tasks.commands.export import export  # noqa: PLC0415

    return export(store, "tiny").data


def test_a_fit_is_extended_from_the_checkpoint_that_stayed(old):
    gc(old, Policy(last=1, best=0), apply=True)
    longer = changed(LONG, ("fit.phases[1].epochs", "3"))
    assert run(longer, old) == ["fine epoch 3", "fit on valid", "fit on test", "evaluation"]


def test_what_a_new_stage_reads_is_made_again_and_no_more(old):
    gc(old, Policy(last=1, best=0, every=5), apply=True)
    branch = changed(LONG, ("fit.phases[1].freeze", "[xy, z]"))
    ran = run(branch, old)
    assert ran[:4] == ["coarse epoch 10", "coarse epoch 11", "coarse epoch 12", "fine epoch 1"]
    assert "coarse epoch 9" not in ran  # the tenth checkpoint was kept


def test_a_retired_result_that_is_made_again_has_the_old_bytes(old):
    planned = keys(STUDY)
    before = old.find("checkpoint", planned["coarse epoch 12"])
    gc(old, Policy(last=1, best=0), apply=True)
    run(changed(LONG, ("fit.phases[1].freeze", "[xy, z]")), old)
    assert old.find("checkpoint", planned["coarse epoch 12"]) == before


def test_what_is_younger_than_a_day_stays(tmp_path, fake_bodies):
    store = open_store(tmp_path / "young")
    run(STUDY, store)
    age(store, 23.5)
    assert gc(open_store(store.url), Policy(last=1, best=0), apply=True).data["given_up"] == []
    assert len(epochs_left(store)) == 16


def test_an_age_under_a_day_is_refused(old):
    with pytest.raises(UserError, match="use 24 or more"):
        gc(old, Policy(hours=1), apply=True)


def test_what_is_pinned_stays_until_the_pin_is_gone(old):
    ref = old.find("checkpoint", keys(STUDY)["coarse epoch 3"])
    pin(old, ref)
    gc(old, Policy(last=1, best=0), apply=True)
    assert epochs_left(old) == {4, 15}
    pin(old, ref, keep=False)
    gc(old, Policy(last=1, best=0), apply=True)
    assert epochs_left(old) == {15}


def test_a_checkpoint_that_two_fits_go_on_from_stays(old):
    branch = changed(LONG, ("fit.phases[1].freeze", "[xy, z]"))
    run(branch, old)
    age(old)
    store = open_store(old.url)
    gc(store, Policy(last=1, best=0), apply=True)
    assert epochs_left(store) == epochs_left(store, branch) == {13, 15}


def test_the_last_checkpoint_of_an_interrupted_fit_stays(tmp_path, fake_bodies):
    good = fake_bodies["fit_epoch"]

    def stop(store, key, inputs, parents):
        if inputs.epoch == 8:
            raise KeyboardInterrupt
        return good(store, key, inputs, parents)

    fake_bodies["fit_epoch"] = stop
    store = open_store(tmp_path / "interrupted")
    with pytest.raises(KeyboardInterrupt):
        run(STUDY, store)
    age(store)
    gc(store, Policy(last=1, best=0), apply=True)
    assert epochs_left(store) == {8}
    fake_bodies["fit_epoch"] = good
    assert run(STUDY, open_store(store.url))[0] == "coarse epoch 8"


def test_objects_of_old_runs_go_if_asked_and_shared_ones_stay(old):
    (first,) = old.runs()
    newer = changed(LONG, ("evaluation.edges", "smooth"))
    run(newer, old)
    age(old)
    for entry in (old.backend.root / "runs" / first).iterdir():
        os.utime(entry, (1, 1))
    store = open_store(old.url)
    gc(store, Policy(last=20, runs=1), apply=True)
    assert set(statuses(store, newer).values()) == {"cached"}
    gone = {label for label, status in statuses(store).items() if status == "retired"}
    assert gone == {label for label, key in keys(STUDY).items() if key not in keys(newer).values()}


def test_a_damaged_manifest_stops_gc(old):
    (entry, *_) = sorted((old.backend.root / "runs").glob("*/*.json"))
    entry.write_bytes(b"{}")
    with pytest.raises(UserError, match="nobody knows what it needs"):
        gc(old, Policy(), apply=True)
    assert len(epochs_left(old)) == 16


def test_the_report_of_a_run_is_the_same_after_gc(store):
    (name,) = store.runs()
    before = results_of(store, name)
    age(store)
    store = open_store(store.url)
    gc(store, Policy(last=1, best=0), apply=True)
    after = results_of(store, name)
    assert after.history == before.history
    assert len(after.history) == 5
    assert after.evaluation == before.evaluation
    assert len(store.keys("checkpoint")) == 1
    with counted() as ran, begin(tiny(), store) as running:
        run_all(running)
    assert ran == []
