"""What the commands say about a store is true, and what they throw away is what they name."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.pipeline.common import (
    TINY,
    changed,
    counted,
    fake_bodies,
    flip_bit,
    tiny,
)
from tomopt_tasks.commands import diff, explain, export, inspect, invalidate, status, verify
from tomopt_tasks.commands.target import find_object
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import KINDS, plan_study
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.refs import Ref

__all__ = ["fake_bodies"]

ROOT = Path(__file__).parents[2]


def keys(study=None) -> dict[str, str]:
    return {stage.label: stage.key for stage in plan_study(study or tiny())}


def labels(study=None) -> dict[str, str]:
    return {stage.key: stage.label for stage in plan_study(study or tiny())}


def rerun(store, study=None, **asked) -> list[str]:
    """Labels of the stages whose body ran."""
    study = study or tiny()
    with counted() as ran, begin(study, store, request=Request(**asked)) as run:
        run_all(run)
    known = labels(study)
    return [known.get(key, key) for key in ran]


def snapshot(store) -> dict[str, int]:
    return {path: stat.size for path, stat in store.backend.listing("").items()}


EACH = """
import contextlib, io, json, sys
from tomopt_tasks import cli
study, store = sys.argv[1:3]
run = "tiny:evaluation"
for words in (["plan", study], ["status"], ["explain", run, "designs.fit.mse"], ["inspect", run],
              ["inspect", "tiny:test bank"], ["verify", "--deep"], ["gc"], ["export", "tiny"],
              ["diff", study, "tiny"], ["pin", run], ["invalidate", "evaluate"]):
    sys.argv = ["tomopt", *words, "--store", store, "--json"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main()
    json.loads(said.getvalue())
    heavy = {"torch", "prefect", "matplotlib"} & sys.modules.keys()
    assert not heavy, f"{words} imports {heavy}"
    print(words[0])
"""


def test_every_command_speaks_json_and_needs_neither_torch_nor_prefect(store):
    done = subprocess.run(
        [sys.executable, "-c", EACH, str(TINY), store.url],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 11


# --- status ---------------------------------------------------------------------------------------


@pytest.fixture
def empty(tmp_path, fake_bodies):
    return open_store(tmp_path / "empty")


def row(store) -> dict:
    (found,) = status.status(store).data["runs"]
    return found


def test_status_tells_finished_failed_and_interrupted_runs_apart(empty, fake_bodies):
    good = fake_bodies["predict"]

    def fail(*_: object):
        raise ArithmeticError("no muon left")

    fake_bodies["predict"] = fail
    with pytest.raises(ArithmeticError), begin(tiny(), empty) as run:
        run_all(run)
    found = row(empty)
    assert (found["state"], found["error"]) == ("failed", "no muon left")
    assert (found["epochs"], found["stages"]) == ((5, 5), (12, 19))

    fake_bodies["predict"] = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt), begin(tiny(), empty) as run:
        run_all(run)
    assert row(empty)["state"] == "interrupted"

    fake_bodies["predict"] = good
    rerun(empty)
    assert (row(empty)["state"], row(empty)["stages"]) == ("finished", (19, 19))


def begun(store, pid: int, at: datetime, host: str | None = None) -> str:
    """The state of a run that has written its start and no end."""
    with begin(tiny(), store) as run:
        pass
    entry = {**store.read_run(run.id)[0], "at": at.isoformat()}
    entry["host"] = {**entry["host"], "pid": pid, "name": host or platform.node()}
    store.append_run(run.id, entry)
    return row(store)["state"]


def test_a_run_without_an_end_is_live_only_if_its_process_is(empty):
    now = datetime.now(UTC)
    assert begun(empty, os.getpid(), now) == "running"
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert begun(empty, gone.pid, now) == "killed"


def test_a_process_that_began_after_the_run_is_another_one(empty):
    child = subprocess.Popen(["sleep", "60"])
    try:
        now = datetime.now(UTC)
        assert begun(empty, child.pid, now) == "running"
        assert begun(empty, child.pid, now - timedelta(hours=1)) == "killed"
    finally:
        child.kill()
        child.wait()


def test_a_run_on_another_machine_may_live(empty):
    assert "elsewhere" in begun(empty, 1, datetime.now(UTC), "elsewhere")


# --- names ----------------------------------------------------------------------------------------


def test_objects_are_found_by_digits_kind_stage_epoch_and_run(store):
    planned = keys()
    bank = planned["test bank"]
    for words in (bank, bank[:10], f"bank/{bank[:4]}", "tiny:test bank", "tiny:TEST BANK"):
        assert find_object(store, words) == ("bank", bank)
    assert find_object(store, "tiny:fit_epoch@2") == ("checkpoint", planned["coarse epoch 1"])
    assert find_object(store, "tiny") == ("evaluation", planned["evaluation"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tiny:no such stage", "there is none"),
        ("tiny:fit_epoch@6", "fit_epoch@1 to fit_epoch@5"),
        ("tiny:predict", "fits 6 stages"),
        ("0" * 64, "there is no object"),
        ("nothing", "there is no run"),
    ],
)
def test_what_is_not_there_is_one_sentence_with_what_is(store, words, said):
    with pytest.raises(UserError, match=said):
        find_object(store, words)


# --- explain, inspect, diff -----------------------------------------------------------------------


def test_a_number_is_traced_back_to_study_seeds_code_and_machine(store):
    answer = explain.explain(store, "tiny", "designs.fit.mse")
    tree = store.get_record(store.find("evaluation", keys()["evaluation"]))
    assert answer.data["number"]["value"] == tree["designs"]["fit"]["mse"]
    lineage = {each["label"]: each for each in answer.data["lineage"]}
    assert lineage.keys() == keys().keys()
    for label, each in lineage.items():
        assert each["stored"]
        assert each["made"]["sha256"] == each["sha256"], label
        assert each["made"]["versions"]["torch"]
        assert "tomopt_tasks.stages" in each["modules"]
    assert answer.data["command"] == f"tomopt run {TINY}"
    text = "\n".join(answer.lines)
    for word in ("test bank", "seed 3", "scenes 3", "commit", "threads", str(TINY)):
        assert word in text


def test_a_number_that_is_not_there_names_those_that_are(store):
    with pytest.raises(UserError, match=r"designs\.start\.mse"):
        explain.explain(store, "tiny", "designs.nobody.mse")


def test_what_no_run_names_cannot_be_explained(store):
    store.put_record("checkpoint", "ab" * 32, {"a": 1})
    with pytest.raises(UserError, match="no run names it"):
        explain.explain(store, "ab" * 32)


def test_inspect_shows_arrays_trees_and_metrics(store):
    bank = inspect.inspect(store, "tiny:test bank").data
    assert bank["arrays"]["state"]["dims"] == ["replica", "volume", "muon", "column"]
    assert bank["arrays"]["state"]["shape"] == [1, 6, 60, 9]
    assert bank["metrics"]["muons"] == 360
    checkpoint = inspect.inspect(store, "tiny:fine epoch 2").data
    assert checkpoint["tree"]["fit"]["epoch"] == 5
    assert any(text == "float64[2]" for text in checkpoint["tree"]["volume"].values())


def test_diff_names_settings_keys_and_results(store):
    other = changed(("evaluation.edges", "smooth"))
    rerun(store, other)
    with begin(other, store) as run:
        pass
    found = diff.diff(store, str(TINY), run.id).data
    places = [each["place"] for each in found["settings"]]
    assert places == ["evaluation.edges"]
    assert set(found["keys"]["different"]) == {
        label for label, key in keys().items() if keys(other)[label] != key
    }
    assert found["keys"]["only_a"] == found["keys"]["only_b"] == []
    assert {each["design"] for each in found["results"]} == {"start", "fit", "baseline_1"}
    ratios = [each["ratio"] for each in found["results"]]
    assert all(ratio != 1 for ratio in ratios)
    same = diff.diff(store, "tiny", "tiny").data
    assert (same["settings"], same["keys"]["different"]) == ([], [])


# --- verify ---------------------------------------------------------------------------------------


def test_a_whole_store_verifies_and_nothing_changes(store):
    before = snapshot(store)
    answer = verify.verify(store, deep=True)
    assert (answer.code, answer.data["damaged"]) == (0, [])
    assert answer.data["objects"] == 19 + len(store.read_run(store.runs()[0]))
    assert snapshot(store) == before


def harmed(store, label: str, pattern: str) -> Path:
    key = keys()[label]
    (path,) = sorted(Path(store.url).glob(f"*/{key[:2]}/{key}{pattern}"))[:1]
    return path


@pytest.mark.parametrize(
    ("label", "pattern", "deep"),
    [
        ("fine epoch 1", ".zarr.zip", False),
        ("test bank", ".json", False),
        ("test bank", "/*/state/c.*", True),
        ("test bank", "/*/zarr.json", True),
    ],
)
def test_a_flipped_bit_is_found_reported_and_left_where_it_is(store, label, pattern, deep):
    flip_bit(harmed(store, label, pattern))
    before = snapshot(store)
    answer = verify.verify(open_store(store.url), deep=deep)
    assert answer.code == 1
    (found,) = answer.data["damaged"]
    assert found["kind"] == KINDS[next(s.name for s in plan_study(tiny()) if s.label == label)]
    assert snapshot(store) == before


def test_a_missing_chunk_and_a_damaged_manifest_are_found_without_reading_data(store):
    harmed(store, "train volumes", "/*/x0/c.*").unlink()
    flip_bit(next(Path(store.url, "runs").glob("*/00000000.json")))
    found = verify.verify(open_store(store.url)).data["damaged"]
    assert {each["kind"] for each in found} == {"volumes", "runs"}


# --- invalidate and force -------------------------------------------------------------------------


def test_what_is_invalidated_runs_again_and_nothing_else(store):
    said = invalidate.invalidate(store, "fit_epoch@2", "tiny")
    assert [each["label"] for each in said.data["invalidated"]] == ["coarse epoch 1"]
    planned = {step.stage.label: step.reason for step in look(store) if step.ref is None}
    assert planned == {"coarse epoch 1": "invalidated"}
    assert rerun(store) == ["coarse epoch 1"]
    assert all(step.ref for step in look(store))


def look(store, study=None):
    from tomopt_tasks.planning.lookup import look_up  # noqa: PLC0415

    study = study or tiny()
    return look_up(plan_study(study), store, study.study)


def test_a_forced_stage_runs_and_what_hangs_on_it_stays_if_the_bytes_do(empty):
    rerun(empty)
    assert rerun(empty, force=("fit_epoch@2", "test bank")) == ["test bank", "coarse epoch 1"]
    assert rerun(empty) == []


def test_a_forced_stage_that_comes_out_different_makes_all_that_hangs_on_it_again(
    empty, fake_bodies, caplog
):
    rerun(empty)
    good = fake_bodies["fit_epoch"]

    def other(store, key, inputs, parents) -> Ref:
        if inputs.epoch != 3:
            return good(store, key, inputs, parents)
        return store.put_record("checkpoint", key, {"other": 1}, {"loss": 1.0})

    fake_bodies["fit_epoch"] = other
    ran = rerun(empty, force=("fit_epoch@4",))
    assert ran == ["fine epoch 1", "fine epoch 2", "fit on valid", "fit on test", "evaluation"]
    assert "fine epoch 1 came out different" in caplog.text


def test_force_names_the_stages_that_there_are(empty):
    with pytest.raises(UserError, match="fit_epoch@1 to fit_epoch@5"):
        rerun(empty, force=("fit_epoch@99",))
    assert empty.runs() == []


# --- export ---------------------------------------------------------------------------------------


def test_a_bank_exports_the_same_numbers_in_every_format(store, tmp_path):
    import pandas  # noqa: PLC0415
    import xarray  # noqa: PLC0415

    bank = store.open_dataset(store.find("bank", keys()["test bank"]))
    state = bank.array("state")
    for suffix in (".csv", ".parquet", ".nc"):
        export.export(store, "tiny:test bank", tmp_path / f"bank{suffix}")
    for table in (
        pandas.read_csv(tmp_path / "bank.csv"),
        pandas.read_parquet(tmp_path / "bank.parquet"),
    ):
        assert len(table) == 360
        assert table["momentum"].tolist() == state[0, :, :, 8].ravel().tolist()
        assert table["generated"].tolist() == bank.array("generated")[0].repeat(60).tolist()
    with xarray.open_dataset(tmp_path / "bank.nc", engine="scipy") as opened:
        assert opened["state"].dims == ("replica", "volume", "muon", "column")
        assert (opened["state"].to_numpy() == state).all()


def test_records_and_runs_export_as_tables(store):
    planned = keys()
    panels = export.export(store, "tiny:fine epoch 2").data
    geometry = store.find("checkpoint", planned["fine epoch 2"]).metrics["geometry"]
    assert [each["z"] for each in panels] == [panel["z"] for panel in geometry]
    designs = export.export(store, "tiny:evaluation").data
    assert [each["design"] for each in designs] == ["start", "fit", "baseline_1"]
    epochs = export.export(store, "tiny").data
    assert [each["epoch"] for each in epochs] == [1, 2, 3, 4, 5]
    losses = [
        store.find("checkpoint", planned[name]).metrics["loss"]
        for name in planned
        if "epoch" in name
    ]
    assert [each["loss"] for each in epochs][1:] == losses
    csv = export.export(store, "tiny").lines
    assert csv[0].startswith("epoch,phase,")
    assert len(csv) == 6


def test_an_unknown_format_is_a_sentence_and_writes_nothing(store, tmp_path):
    with pytest.raises(UserError, match=r"use one of \.csv, \.parquet, \.nc, \.h5"):
        export.export(store, "tiny", tmp_path / "table.xls")
    assert not (tmp_path / "table.xls").exists()


def test_a_text_column_survives_netcdf(store, tmp_path):
    import xarray  # noqa: PLC0415

    export.export(store, "tiny:evaluation", tmp_path / "designs.nc")
    with xarray.open_dataset(tmp_path / "designs.nc", engine="scipy") as opened:
        names = [name.decode().strip() for name in opened["design"].to_numpy().tolist()]
    assert names == ["start", "fit", "baseline_1"]
