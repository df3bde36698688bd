"""Several starts of one fit: the worse ones are given up, and the rest is as if there were one."""

import pytest
import torch

from tests.pipeline.common import changed, counted
from tomopt_tasks.campaigns.plan import MemberPlan
from tomopt_tasks.campaigns.state import Times
from tomopt_tasks.config.members import Member
from tomopt_tasks.config.starts import random_start
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.manifest import last_made, run_id
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

STARTS = ("fit.multi_start", "{random: 3, seed: 5, halve_after: [1, 3]}")


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """A fit from four starts, of which two go on after an epoch and one after three."""
    study = changed(STARTS)
    store = open_store(tmp_path_factory.mktemp("raced") / "store")
    with begin(study, store) as run:
        run_all(run)
    return study, store


def stored(study, store):
    """Label -> stage and ref of every stage."""
    return {s.label: (s, store.find(s.kind, s.key)) for s in plan_study(study)}


def test_half_of_the_starts_go_on_and_the_rest_of_the_fit_is_one(raced):
    names = [stage.name for stage in plan_study(raced[0])]
    assert names.count("start_fit") == 4
    assert names.count("try_start") == 4 + 2 + 1
    assert names.count("fit_epoch") == 5 - 3
    assert all(ref is not None for _, ref in stored(*raced).values())


def test_those_with_the_least_loss_on_the_validation_bank_go_on(raced):
    found = stored(*raced)
    choices = [
        [found[f"try {n}, to epoch 3"][1].metrics["choice"] for n in (1, 2)],
        [found["chosen start"][1].metrics["choice"]],
    ]
    for going_on in choices:
        losses = going_on[0]["losses"]
        assert len(set(losses)) == len(losses)
        ranked = sorted(range(len(losses)), key=losses.__getitem__)
        assert [each["candidate"] - 1 for each in going_on] == ranked[: len(going_on)]


def test_the_test_bank_has_no_say(raced):
    found = stored(*raced)
    tests = {found["test bank"][0].key, found["test volumes"][0].key}
    for stage, _ in found.values():
        assert stage.name != "try_start" or not tests & set(stage.parents.values())


def test_what_is_chosen_ends_as_if_the_fit_had_begun_there(raced, tmp_path):
    study, store = raced
    found = stored(study, store)
    last = found["chosen start"][1].metrics["choice"]["candidate"]
    first = found[f"try {last}, to epoch 3"][1].metrics["choice"]["candidate"]
    detector = study.detectors["start"]
    if first > 1:
        gap, number = study.constraints.gap, first - 1
        detector = random_start(detector, study.world, gap, 5, number, "multi start")
    alone = changed(("detectors.start", detector.model_dump_json()))
    other = open_store(tmp_path / "store")
    with begin(alone, other) as run:
        run_all(run)
    ours, theirs = (
        s.get_record(stored(plan, s)["fine epoch 2"][1])
        for plan, s in ((study, store), (alone, other))
    )
    assert ours["volume"].keys() == theirs["volume"].keys()
    for name, value in ours["volume"].items():
        assert torch.equal(value, theirs["volume"][name]), name


def test_a_second_run_executes_nothing_and_a_lost_try_runs_alone(raced):
    study, store = raced
    lost = stored(study, store)["try 3, to epoch 1"][1]
    store.forget(lost.kind, lost.key)
    with counted() as ran, begin(study, store) as run:
        run_all(run)
    assert ran == [lost.key]
    assert store.find(lost.kind, lost.key).sha256 == lost.sha256
    with counted() as again, begin(study, store) as run:
        run_all(run)
    assert again == []


def test_another_seed_changes_the_random_starts_and_what_is_made_from_them(raced):
    before, after = (
        {stage.label: stage.key for stage in plan_study(study)}
        for study in (raced[0], changed((STARTS[0], STARTS[1].replace("5", "6"))))
    )
    same = {label for label in before if before[label] == after[label]}
    assert {"start of the fit", "try 1, to epoch 1", "train bank", "start on test"} <= same
    assert not same & {"random start 1", "try 2, to epoch 1", "chosen start", "fine epoch 2"}


def test_the_time_of_the_fit_holds_the_starts_that_were_given_up(raced):
    study, store = raced
    stages = plan_study(study)
    run = run_id(study, stages)
    member = MemberPlan(Member("raced", {}, study, "", {}), stages, run)
    refs = {stage.key: store.find(stage.kind, stage.key) for stage in stages}
    made = last_made(store.read_run(run))
    parts = ("fit_epoch", "try_start")
    took = [made[stage.key]["seconds"] for stage in stages if stage.name in parts]
    assert len(took) == 2 + 7
    assert Times(store, run).fit(member, refs) == pytest.approx(sum(took))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("{halve_after: [3, 2]}", r"halve_after\[1\]: got 2 after 3, but epochs must be ascending"),
        ("{random: 1, halve_after: [1, 2]}", r"halve_after\[1\]: got 2 halvings of 2 fits"),
        (
            "{halve_after: [2, 6]}",
            "halve_after: got 6, but the phases have 5 epochs; halve earlier",
        ),
        ("{random: 0}", "random"),
    ],
)
def test_halvings_that_cannot_be_are_refused(entry, words):
    with pytest.raises(UserError, match=words):
        changed(("fit.multi_start", entry))
