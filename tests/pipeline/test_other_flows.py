"""Campaigns, judgements and maintenance under Prefect are seen as runs are: name, state, events."""

import importlib
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.pipeline.common import TINY, objects
from tests.pipeline.test_campaign import at_once
from tests.pipeline.test_watching import client, evaluation_key
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.campaigns.slots import Job, Outcome
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.closing import has_end
from tomopt_tasks.store.opening import open_store

__all__ = ["client"]

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def flows(prefect):
    names = ("campaign", "evaluate", "maintenance", "overseeing", "telling", "endings", "chores")
    return SimpleNamespace(**{name: importlib.import_module(f"flows.{name}") for name in names})


@pytest.fixture
def heard(flows, monkeypatch):
    """Events."""
    found: list[tuple[str, str, dict]] = []

    def emit(name, resource, *, payload):
        found.append((name, resource["prefect.resource.id"], payload))

    monkeypatch.setattr(flows.telling, "emit_event", emit)
    return found


@pytest.fixture
def file(tmp_path):
    """A campaign whose one member is the small study."""
    path = tmp_path / "c.yaml"
    path.write_text(
        f"version: 1\ncampaign: small\nbase: {TINY}\nset: {{notify.on: [finished]}}\n"
        "axes: {detector: {points: {a: {}}}}\n"
    )
    return path


def run_of(client, name, place):
    """The newest run of a flow over a store."""
    found = [run for run in client.read_flow_runs() if place in map(str, run.parameters.values())]
    return max((run for run in found if name in run.name), key=lambda run: run.created)


def texts_of(client, run) -> dict[str, str]:
    """Key of each artifact of a run -> text."""
    found = [each for each in client.read_artifacts() if each.flow_run_id == run.id]
    return {str(each.key).removeprefix(f"{keyed(run.name)}-"): str(each.data) for each in found}


def keyed(name: str) -> str:
    return name.replace(".", "-").lower()


def test_a_cached_campaign_shows_its_leaderboard_report_and_state(
    flows, store, client, heard, file
):
    report = flows.campaign.campaign(str(file), store=store.url)
    assert Path(report).is_file()
    run = run_of(client, "campaign.small", store.url)
    assert {"campaign:small"} <= set(run.tags)
    texts = texts_of(client, run)
    assert f"# {run.name}: finished" in texts["status"]
    assert "optimised" in texts["leaderboard"]
    assert texts["report"].count("data:image/svg+xml;base64") == 2  # ratios and losses
    assert "tomopt campaign run" in texts["report"]
    assert float(texts["progress"]) == 100.0
    assert heard == [
        ("tomopt.campaign.finished", f"tomopt.campaign.{run.name}", {"jobs": 0}),
    ]


def test_a_campaign_whose_job_fails_says_which_and_why_and_how_to_go_on(
    flows, store, client, heard, file, monkeypatch
):
    from tomopt_tasks.runs import body  # noqa: PLC0415

    def fail(*_: object) -> None:
        raise UserError("no muon was accepted")

    monkeypatch.setattr(body, "bodies", lambda: {"evaluate": fail})
    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    monkeypatch.setattr("tomopt_tasks.campaigns.work._store", open_store)
    objects(store)[evaluation_key()].unlink()
    with pytest.raises(UserError, match="no member of small is complete"):
        flows.campaign.campaign(str(file), {"title": "T"}, store=store.url)
    run = run_of(client, "campaign.small", store.url)
    status = texts_of(client, run)["status"]
    assert f"# {run.name}: failed" in status
    assert "| detector=a | failed | no muon was accepted |" in status
    assert f"tomopt campaign run {file} --set title=T --store {store.url}" in status
    assert [name for name, *_ in heard] == ["tomopt.job.failed", "tomopt.campaign.failed"]
    assert heard[0][2]["error"] == "no muon was accepted"


def test_a_campaign_says_which_jobs_run_now_and_their_epochs(flows, store, file, monkeypatch):
    monkeypatch.setattr(flows.overseeing, "Voice", lambda about: None)
    told = flows.overseeing.Overseer(load_campaign(file), store)
    monkeypatch.setattr(told, "voice", SimpleNamespace(log=print, event=lambda *_: None))
    monkeypatch.setattr(told.page, "_safely", lambda publish: None)
    epochs = tuple(s.key for s in plan_study(load_campaign(file).members[0].study)
                   if s.name == "fit_epoch")  # fmt: skip
    objects(store)[epochs[-1]].unlink()
    told.began(Job("a", print, (), epochs=epochs))
    told.began(Job("b", print, ()))
    (a, b) = told.standing("running").tables["Now"]
    last = store.find("checkpoint", epochs[-2]).metrics["loss"]
    assert (a["job"], a["so far"], a["loss"]) == ("a", "4 of 5 epochs", f"{last:.4g}")
    assert (b["job"], b["so far"], b["loss"]) == ("b", "", "")
    told.ended(Outcome("a", "done"), 1, 3)
    told.ended(Outcome("b", "failed", "it was killed"), 2, 3)
    standing = told.standing("running")
    assert standing.tables["Now"] == []
    assert standing.progress.startswith("2 of 3 jobs have ended, 1 without a result.")
    assert standing.tables["Without a result"][0]["error"] == "it was killed"


def test_a_store_that_does_not_answer_while_a_campaign_is_watched_does_not_end_it(
    flows, store, file, monkeypatch, caplog
):
    monkeypatch.setattr(flows.overseeing, "Voice", lambda about: None)
    told = flows.overseeing.Overseer(load_campaign(file), store)

    def fail(kind):
        raise OSError("the network is down")

    monkeypatch.setattr(told, "store", SimpleNamespace(keys=fail))
    told.began(Job("a", print, (), epochs=("key",)))
    assert "the network is down" in caplog.text


def test_a_judgement_has_a_name_tags_state_and_event(flows, store, client, heard):
    (run_id,) = store.runs()
    detector = TINY.parents[2] / "data" / "studies" / "detectors" / "human_tuned.yaml"
    rows = flows.evaluate.evaluate(str(detector), run_id, store=store.url)
    run = run_of(client, "human_tuned", store.url)
    assert {"detector:human_tuned", f"against:{run_id}"} <= set(run.tags)
    status = next(t for key, t in texts_of(client, run).items() if key.endswith("status"))
    assert f"human_tuned was judged against {run_id}" in status
    assert any("human tuned" in row["design"] for row in rows)
    assert heard[0][0] == "tomopt.evaluation.finished"


def test_damage_that_verify_finds_is_its_state_and_an_event(flows, store, client, heard):
    objects(store)[evaluation_key()].write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged"):
        flows.maintenance.verify(store=store.url)
    run = run_of(client, "verify", store.url)
    assert {f"store:{store.url}", "deep:no"} <= set(run.tags)
    assert "# verify: failed" in texts_of(client, run)["status"]
    assert [name for name, *_ in heard] == ["tomopt.verify.failed"]


@pytest.mark.parametrize("how", ["crashed", "cancelled"])
def test_a_killed_campaign_or_chore_is_ended_and_says_how_to_go_on(flows, store, client, file, how):
    from prefect.states import Cancelled, Crashed  # noqa: PLC0415

    state = {"crashed": Crashed, "cancelled": Cancelled}[how](message="exit status -9")
    hook = getattr(flows.endings, how)
    campaign = {"event": "started", "campaign": {"search": None}, "file": "c.yaml",
                "changes": [["title", "T"]], "members": {"a": "a-1", "b": "b-1"}}  # fmt: skip
    store.append_run("campaign.small-1", campaign)
    store.append_run("a-1", {"event": "finished"})
    made = client.create_flow_run(flows.campaign.campaign)
    labels = {"tomopt.run": "campaign.small-1", "tomopt.store": store.url}
    client.update_flow_run_labels(made.id, labels)
    hook(flow=flows.campaign.campaign, flow_run=made, state=state)
    assert has_end(store.read_run("campaign.small-1"))
    (text,) = texts_of(client, made).values()
    assert f"# campaign.small-1: {how}" in text
    assert "1 of 2 members have finished" in text
    assert f"tomopt campaign run c.yaml --set title=T --store {store.url}" in text

    chore = client.create_flow_run(flows.maintenance.gc, name="gc")
    client.update_flow_run_labels(chore.id, {"tomopt.again": flows.maintenance.AGAIN})
    hook(flow=flows.maintenance.gc, flow_run=chore, state=state)
    assert flows.maintenance.AGAIN in texts_of(client, chore)["status"]

    early = client.create_flow_run(flows.campaign.campaign)
    labels = {"tomopt.run": "campaign.never-begun", "tomopt.store": store.url}
    client.update_flow_run_labels(early.id, labels)
    hook(flow=flows.campaign.campaign, flow_run=early, state=state)
    assert texts_of(client, early) == {}
