"""A plan names what depends on what; looking it up says what would run, and why."""

import subprocess
import sys

import pytest

from tests.pipeline.common import TINY, changed, counted, fake_bodies, flip_bit, objects, tiny
from tomopt_tasks.caching import numerics
from tomopt_tasks.planning import history, look_up, plan, plan_study, reasons
from tomopt_tasks.planning.history import pack, unpack
from tomopt_tasks.planning.show import plan_lines
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]


def keys(study) -> dict[str, str]:
    return {stage.label: stage.key for stage in plan_study(study)}


def different(*changes: tuple[str, str]) -> set[str]:
    """Labels of the stages whose key a change alters."""
    before, after = keys(tiny()), keys(changed(*changes))
    return {
        label for label in before.keys() | after.keys() if before.get(label) != after.get(label)
    }


EPOCHS = {"coarse search 1", "coarse epoch 1", "coarse epoch 2", "fine epoch 1", "fine epoch 2"}
FITTED = {"fit on valid", "fit on test"}
SCORES = FITTED | {"start on valid", "start on test", "baseline_1 on valid", "baseline_1 on test"}
TRAIN = {"train volumes", "train bank"}


def test_parents_come_before_children_and_labels_are_unique():
    stages = plan_study(tiny())
    seen: set[str] = set()
    for stage in stages:
        assert set(stage.parents.values()) <= seen
        seen.add(stage.key)
    assert len(seen) == len({stage.label for stage in stages}) == len(stages) == 19


@pytest.mark.parametrize(
    ("change", "labels"),
    [
        (("report.title", "Other"), set()),
        (("study", "other"), set()),
        (("fit.phases[1].name", "fine"), set()),
        (("evaluation.bootstrap", "200"), {"evaluation"}),
        (("evaluation.edges", "smooth"), SCORES | {"evaluation"}),
        (("scenes.test.per_height", "4"), {"test volumes", "test bank", "evaluation"}
         | {label for label in SCORES if label.endswith("test")}),
        (("scenes.train.per_height", "3"), TRAIN | EPOCHS | FITTED | {"evaluation"}),
        (("fit.seed", "9"), EPOCHS | FITTED | {"evaluation", "start of the fit"}),
        (("loss.kind", "volume_mse"), EPOCHS | FITTED | {"evaluation"}),
        (("fit.phases[1].freeze", "[xy, z]"),
         {"fine epoch 1", "fine epoch 2", "evaluation"} | FITTED),
        (("detectors.baseline_1.groups.above.z[0]", "1.7"),
         {"baseline_1 on valid", "baseline_1 on test", "evaluation"}),
        (("constraints.gap", "5 mm"), EPOCHS | FITTED | {"evaluation", "start of the fit"}),
    ],
)  # fmt: skip
def test_a_change_reaches_the_stages_downstream_of_it_and_no_others(change, labels):
    assert different(change) == labels


def test_a_new_name_of_a_phase_keeps_its_keys():
    before, after = plan_study(tiny()), plan_study(changed(("fit.phases[0].name", "first")))
    assert [stage.key for stage in before] == [stage.key for stage in after]


def test_more_epochs_keep_the_keys_of_the_ones_before():
    before, after = keys(tiny()), keys(changed(("fit.phases[1].epochs", "4")))
    new = {label for label in after if before.get(label) != after[label]}
    assert new == {"fine epoch 3", "fine epoch 4", "evaluation"} | FITTED


def test_a_schedule_with_a_length_of_its_own_survives_more_epochs():
    schedule = ("fit.phases[1].schedule", "{kind: one_cycle, length: 2, warmup: 1}")
    before, after = (
        keys(changed(schedule, ("fit.phases[1].epochs", n_epochs))) for n_epochs in ("2", "4")
    )
    assert before["fine epoch 2"] == after["fine epoch 2"]


def test_epochs_take_replicas_in_turn_and_fresh_muons_every_time():
    def banks(change):
        stages = {stage.key: stage for stage in plan_study(changed(change))}
        epochs = [stage for stage in stages.values() if stage.name == "fit_epoch"]
        return [stages[epoch.parents["bank"]].inputs.replica for epoch in epochs]

    assert banks(("muons.replicas", "2")) == [0, 1, 0, 1, 0]
    assert banks(("muons.fresh", "true")) == [0, 1, 2, 3, 4]
    assert keys(tiny())["train bank"] == keys(changed(("muons.replicas", "2")))["train bank 1"]


def test_without_phases_designs_are_judged_and_nothing_is_fitted():
    study = changed(("fit.phases", "[]"), ("compare", "[start, baseline_1]"))
    assert [stage.label for stage in plan_study(study)] == [
        "valid volumes", "test volumes", "valid bank", "test bank", "start on valid",
        "start on test", "baseline_1 on valid", "baseline_1 on test", "evaluation",
    ]  # fmt: skip
    assert set(keys(study).items()) - set(keys(tiny()).items()) == {
        ("evaluation", keys(study)["evaluation"])
    }


def test_a_study_without_a_fit_needs_no_design_to_start_from():
    study = changed(("fit.phases", "[]"), ("compare", "[]"), ("detectors.start", "null"))
    assert study.compare == study.baselines == ("baseline_1",)
    assert len(plan_study(study)) == 7


def test_a_packed_plan_comes_back_whole():
    stages = plan_study(tiny())
    made = {stages[0].key: {"sha256": "0" * 64}}
    known = unpack(pack(stages), made)
    assert [each.components for each in known] == [stage.components for stage in stages]
    assert [each.made for each in known] == [True] + [False] * 18


# --- looking up -----------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    return open_store(tmp_path / "store")


@pytest.fixture
def ready(store, fake_bodies):
    """A store in which the small study has run."""
    with begin(tiny(), store) as run:
        run_all(run)
    return store


def why(study, store) -> dict[str, str]:
    steps = look_up(plan_study(study), store, study.study)
    return {step.stage.label: step.reason for step in steps if step.ref is None}


def test_without_a_store_everything_is_new():
    steps = look_up(plan_study(tiny()), None, "tiny")
    assert {step.reason for step in steps} == {"new"}
    assert plan_lines(steps)[-1] == "19 of 19 stages would run"


def test_after_a_run_nothing_would_run(ready):
    assert why(tiny(), ready) == {}
    lines = plan_lines(look_up(plan_study(tiny()), ready, "tiny"))
    assert lines[-1] == "all 19 are stored"
    assert "coarse epoch 1 to 2  cached" in lines


def test_the_reason_names_the_setting_and_its_values(ready):
    said = why(changed(("evaluation.edges", "smooth")), ready)
    assert said["fit on test"] == "edges: hard -> smooth"
    assert said["evaluation"] == "evaluation.edges: hard -> smooth"


def test_what_only_follows_says_what_it_follows(ready):
    said = why(changed(("fit.seed", "9")), ready)
    assert said["start of the fit"] == "seed: 3 -> 9"
    assert said["fit on test"] == "follows fine epoch 2"


def test_new_epochs_are_new_and_old_ones_stay(ready):
    said = why(changed(("fit.phases[1].epochs", "4")), ready)
    assert said["fine epoch 3"] == said["fine epoch 4"] == "new"
    assert set(said) == {"fine epoch 3", "fine epoch 4", "evaluation"} | FITTED


def test_lost_and_damaged_objects_are_told_from_new_ones(ready):
    files = objects(ready)
    planned = keys(tiny())
    files[planned["coarse epoch 2"]].unlink()
    flip_bit(files[planned["test bank"]])
    assert why(tiny(), ready) == {
        "coarse epoch 2": "lost or damaged",
        "test bank": "lost or damaged",
    }


def test_stages_that_a_killed_run_did_not_reach_say_so(store, fake_bodies):
    def fail(*_: object):
        raise KeyboardInterrupt

    fake_bodies["predict"] = fail
    with pytest.raises(KeyboardInterrupt), begin(tiny(), store) as run:
        run_all(run)
    said = why(tiny(), store)
    assert set(said.values()) == {"not reached by an earlier run"}
    assert set(said) == SCORES | {"evaluation"}


def test_a_change_of_code_names_the_file(ready, monkeypatch):
    monkeypatch.setattr(plan, "code_digest", lambda name: "0" * 64 if name == "evaluate" else name)
    parts = {"tomopt_tasks.stages": "0", "tomopt_tasks.evaluation.merit": "1"}
    for module in (history, reasons):
        monkeypatch.setattr(module, "code_parts", lambda _: parts)
    said = why(tiny(), ready)["evaluation"]
    assert said.startswith("code: ")
    assert "tomopt_tasks/evaluation/merit.py" in said


def test_another_study_explains_small_differences_only(ready):
    small = why(changed(("study", "other"), ("evaluation.bootstrap", "200")), ready)
    assert small == {"evaluation": "evaluation.bootstrap: 100 -> 200"}
    seeds = [(f"{part}.seed", "9") for part in ("scenes", "muons", "fit", "evaluation")]
    large = why(
        changed(("study", "other"), ("muons.per_volume", "70"), ("muons.aim", "false"), *seeds),
        ready,
    )
    assert large["train bank"] == "new"


def test_numerics_are_a_reason_of_their_own(ready):
    newer = numerics().model_copy(update={"torch": "9.9"})
    steps = look_up(plan_study(tiny(), newer), ready, "tiny")
    assert steps[0].reason == f"torch: {numerics().torch} -> 9.9"


# --- running --------------------------------------------------------------------------------------


def test_a_second_run_executes_no_body(ready):
    with counted() as ran, begin(tiny(), ready) as run:
        run_all(run)
    assert ran == []
    assert (len(run.executed), run.cached) == (0, 19)


@pytest.mark.parametrize("hurt", ["delete", "flip"])
@pytest.mark.parametrize("label", ["train volumes", "coarse epoch 1", "fit on test", "evaluation"])
def test_one_lost_or_damaged_object_costs_one_body_and_comes_back_equal(ready, label, hurt):
    key = keys(tiny())[label]
    path = objects(ready)[key]
    before = path.read_bytes()
    path.unlink() if hurt == "delete" else flip_bit(path)
    with counted() as ran, begin(tiny(), ready) as run:
        run_all(run)
    assert ran == [key]
    assert path.read_bytes() == before


def test_a_run_goes_on_where_it_was_interrupted(store, fake_bodies):
    good = fake_bodies["fit_epoch"]

    def stop_in_the_fourth(store, key, inputs, parents):
        if inputs.epoch == 3:
            raise KeyboardInterrupt
        return good(store, key, inputs, parents)

    fake_bodies["fit_epoch"] = stop_in_the_fourth
    with pytest.raises(KeyboardInterrupt), begin(tiny(), store) as run:
        run_all(run)
    entries = store.read_run(run.id)
    assert [entry["event"] for entry in entries] == ["started", "interrupted"]
    fake_bodies["fit_epoch"] = good
    with begin(tiny(), store) as again:
        run_all(again)
    assert again.id == run.id
    planned = keys(tiny())
    assert again.executed[0] == planned["fine epoch 1"]
    assert len(again.executed) == 2 + 6 + 1


def test_after_an_early_stop_the_other_epochs_are_the_last_checkpoint(store, fake_bodies):
    good = fake_bodies["fit_epoch"]

    def stop_after_the_second(store, key, inputs, parents):
        ref = good(store, key, inputs, parents)
        if inputs.epoch < 1:
            return ref
        path = objects(store)[key]
        path.unlink()
        return store.put_record("checkpoint", key, {"epoch": inputs.epoch}, {"stopped": True})

    fake_bodies["fit_epoch"] = stop_after_the_second
    with begin(tiny(), store) as run:
        run_all(run)
    planned = keys(tiny())
    epochs = [key for key in run.executed if key in {planned[label] for label in EPOCHS}]
    assert epochs == [planned["coarse search 1"], planned["coarse epoch 1"]]
    assert run.refs[planned["fine epoch 2"]].key == planned["coarse epoch 1"]
    assert why(tiny(), store) == {}


def test_a_body_that_gives_other_bytes_raises_the_alarm(ready, fake_bodies, caplog):
    def other(store, key, inputs, parents):
        return store.put_record("evaluation", key, {"another": 1})

    fake_bodies["evaluate"] = other
    objects(ready)[keys(tiny())["evaluation"]].unlink()
    with begin(tiny(), ready) as run:
        run_all(run)
    assert "evaluation came out different from the last time" in caplog.text


def test_the_manifest_tells_what_ran_why_and_how_long(ready):
    (run,) = ready.runs()
    entries = ready.read_run(run)
    assert [entry["event"] for entry in entries] == ["started", "finished"]
    started, finished = entries
    assert started["seeds"] == {"scenes": 3, "muons": 3, "fit": 3, "evaluation": 3}
    assert {"python", "torch"} <= started["versions"].keys()
    assert len(started["plan"]["stages"]) == len(finished["executed"]) == 19
    made = finished["executed"][keys(tiny())["evaluation"]]
    assert made["reason"] == "new"
    assert made["seconds"] >= 0
    assert len(made["sha256"]) == 64


def test_planning_a_thousand_epochs_needs_neither_torch_nor_prefect():
    code = f"""
import sys
from tomopt_tasks.config.load import load_study
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.planning.lookup import look_up
study = load_study({str(TINY)!r}, [("fit.phases[0].epochs", "1000")])
stages = plan_study(study)
assert len(stages) == 1017
look_up(stages, None, "tiny")
assert not {{"torch", "prefect", "matplotlib"}} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
