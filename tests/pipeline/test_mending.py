"""What a stage cannot read is made again first, with all before it that was given up."""

import inspect
import sys

import pytest

from tests.pipeline.common import changed, counted, fake_bodies, objects
from tests.pipeline.test_gc import age, keys
from tests.unit.store.matrix import RECORD
from tomopt_tasks.commands.gc import Policy, gc
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

LAST, READER = "fine epoch 2", "fit on test"


def long(n_epochs):
    return changed(("fit.phases[0].epochs", str(n_epochs)))


@pytest.fixture(autouse=True)
def reading(fake_bodies):
    """Epochs and predictions read the checkpoint that they are made from."""
    for name in ("fit_epoch", "predict"):
        fake = fake_bodies[name]

        def body(store, key, inputs, parents, fake=fake):
            if "checkpoint" in parents:
                store.get_record(parents["checkpoint"])
            return fake(store, key, inputs, parents)

        fake_bodies[name] = body


def harmed(tmp_path, study):
    """A store where the last checkpoint is crafted, its reader is lost, and the rest given up."""
    store = open_store(tmp_path / "store")
    with begin(study, store) as running:
        run_all(running)
    age(store)
    gc(open_store(store.url), Policy(last=1, best=0), apply=True)
    named, files = keys(study), objects(store)
    files[named[READER]].unlink()
    RECORD["shape bomb"](files[named[LAST]], tmp_path, tmp_path)
    return open_store(store.url)


def ran(study, store, labels=None):
    named = {key: label for label, key in keys(study).items()}
    with counted() as bodies, begin(study, store) as run:
        if labels is None:
            run_all(run)
        else:
            list(run.some({key for key, label in named.items() if label in labels}))
    return [named[key] for key in bodies], run


def epochs(study):
    return [s.label for s in plan_study(study) if s.name in ("start_fit", "fit_epoch")][:-1]


def test_ancestors_that_were_given_up_are_made_again_in_order_each_once(tmp_path):
    study = long(3)
    store = harmed(tmp_path, study)
    digest = store.find("checkpoint", keys(study)[LAST])
    labels, run = ran(study, store)
    assert labels == [READER, *epochs(study), LAST, READER]
    again = store.find("checkpoint", keys(study)[LAST])
    assert again not in (None, digest)
    assert len(run.history) == sum(stage.name == "fit_epoch" for stage in plan_study(study))
    assert ran(study, open_store(store.url))[0] == []


def test_a_chain_may_be_longer_than_the_stack_of_python(tmp_path):
    study = long(80)
    store = harmed(tmp_path, study)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 250)  # three frames a generation
    try:
        labels, _ = ran(study, store)
    finally:
        sys.setrecursionlimit(limit)
    assert labels == [READER, *epochs(study), LAST, READER]


def test_a_run_of_some_stages_finds_what_the_lost_ones_are_made_from(tmp_path):
    study = long(3)
    store = harmed(tmp_path, study)
    before = store.find("evaluation", keys(study)["evaluation"])
    others = {"valid volumes", "valid bank"}
    wanted = {label for label in keys(study) if label not in others and " on " not in label}
    wanted = wanted - {"evaluation"} | {READER}
    labels, run = ran(study, store, wanted)
    assert labels == [READER, *epochs(study), LAST, READER]
    assert {run.plan[key].label for key in run.refs} == wanted
    assert run.refs[keys(study)[LAST]] == store.find("checkpoint", keys(study)[LAST])
    assert store.find("evaluation", keys(study)["evaluation"]) == before
