"""What people see of a run: its form, name, tags, status, events, messages, and how it ended."""

import importlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from tests.pipeline.common import TINY, flip_bit, objects
from tomopt_tasks.runs import notify
from tomopt_tasks.runs.closing import has_end
from tomopt_tasks.store.opening import open_store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]


@pytest.fixture
def flows(prefect):
    names = ("optimise", "evaluate", "campaign", "maintenance", "telling", "endings")
    return SimpleNamespace(**{name: importlib.import_module(f"flows.{name}") for name in names})


@pytest.fixture
def client(prefect):
    from prefect.client.orchestration import get_client  # noqa: PLC0415

    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def webhook(monkeypatch):
    """A webhook with a secret in its address; what it was sent."""
    heard: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append({"path": self.path, **json.loads(body)})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("TOMOPT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/{SECRET}")
    yield heard
    server.shutdown()
    server.server_close()


SECRET = "T0-very-secret"

GOOD = {"study": "a.yaml"}
FORMS = [
    ("optimise", GOOD, True),
    ("optimise", {**GOOD, "quick": {"epochs": 3, "seed": 0, "area": 6.5}}, True),
    ("optimise", {**GOOD, "changes": {"seed": 2, "fit.phases[0].freeze": ["xy"]}}, True),
    ("optimise", {"study": "a.txt"}, False),
    ("optimise", {**GOOD, "quick": {"epochs": 0}}, False),
    ("optimise", {**GOOD, "quick": {"seed": -1}}, False),
    ("optimise", {**GOOD, "quick": {"area": 0}}, False),
    ("optimise", {**GOOD, "quick": {"epoch": 3}}, False),
    ("optimise", {**GOOD, "quick": {"muons_per_volume": 1.5}}, False),
    ("campaign", {"file": "a.yaml", "jobs": 0}, False),
    ("evaluate", {"detector": "d.yaml", "against": ""}, False),
    ("gc", {"keep": {"hours": 24}}, True),
    ("gc", {"keep": {"hours": 23}}, False),
    ("gc", {"keep": {"last": 0}}, False),
]


@pytest.mark.parametrize(("name", "values", "good"), FORMS)
def test_a_form_refuses_what_is_out_of_bounds(flows, name, values, good):
    home = flows.maintenance if name == "gc" else getattr(flows, name)
    schema = getattr(home, name).parameters.model_dump()
    assert jsonschema.Draft202012Validator(schema).is_valid(values) is good


def test_a_cached_run_shows_all_and_only_epochs_that_run_are_events(
    flows, store, client, webhook, monkeypatch, caplog
):
    heard = []
    monkeypatch.setattr(
        flows.telling, "emit_event", lambda name, *_, payload: heard.append((name, payload))
    )
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    asked = {"notify.on": ["finished", "best"]}
    run = flows.optimise.optimise(str(TINY), asked, store.url)
    found = client.read_flow_runs()
    (mine,) = (each for each in found if each.parameters.get("store") == store.url)
    assert mine.name == run
    assert {"study:tiny", "seed:3", "device:cpu"} <= set(mine.tags)
    texts = [a for a in client.read_artifacts() if a.flow_run_id == mine.id]
    (status,) = (str(a.data) for a in texts if a.key == f"{run}-status")
    assert f"# {run}: finished" in status
    assert "0 stages ran, 19 were cached, of 19." in status
    assert "data:image/svg+xml;base64" in status
    assert len([a for a in texts if a.key == f"{run}-metrics"]) == 1
    assert [name for name, _ in heard] == ["tomopt.run.finished"]
    assert [each["event"] for each in webhook] == ["tomopt.run.finished"]
    heard.clear()
    flows.optimise.optimise(str(TINY), asked, store.url, force=["fine epoch 2"])
    assert ("tomopt.epoch.finished", 5) in [(name, facts.get("epoch")) for name, facts in heard]
    assert webhook[-1]["path"] == f"/{SECRET}"
    written = b"".join(path.read_bytes() for path in Path(store.url).rglob("*") if path.is_file())
    assert SECRET.encode() not in written
    assert b"TOMOPT_WEBHOOK" in written
    assert SECRET not in "".join(str(each.data) for each in client.read_artifacts())
    assert SECRET not in caplog.text


def test_a_failed_run_says_why_and_how_to_go_on(flows, store, client, webhook, monkeypatch):
    from tomopt_tasks.runs import body  # noqa: PLC0415

    def fail(*_: object) -> None:
        raise ValueError("no muon was accepted")

    monkeypatch.setattr(body, "bodies", lambda: {"evaluate": fail})
    objects(store)[evaluation_key()].unlink()
    again = open_store(store.url)
    with pytest.raises(ValueError, match="no muon was accepted"):
        flows.optimise.optimise(str(TINY), {"notify.on": ["failed"]}, again.url)
    (run,) = again.runs()
    found = [a for a in client.read_artifacts() if a.key == f"{run}-status"]
    (status,) = (str(a.data) for a in found if "failed" in str(a.data).splitlines()[0])
    assert "no muon was accepted" in status
    assert f"tomopt run {TINY}" in status
    assert "5 of 5 epochs are stored" in status
    assert [each["event"] for each in webhook] == ["tomopt.run.failed"]


def test_a_fit_that_diverges_is_an_event_a_message_and_in_its_status(
    flows, store, client, webhook, monkeypatch
):
    heard = []
    monkeypatch.setattr(
        flows.telling, "emit_event", lambda name, *_, payload: heard.append((name, payload))
    )
    changes = {
        "fit.phases[1].epochs": 6,
        "fit.phases[1].guards": "{divergence: {patience: 1, max_rise: 1.0e-9}}",
        "notify.on": ["diverged"],
    }
    run = flows.optimise.optimise(str(TINY), changes, store.url)
    (facts,) = (facts for name, facts in heard if name == "tomopt.fit.diverged")
    assert "it diverged (stopped in epoch" in facts["why"]
    assert facts["epoch"] < facts["of"] == 9
    assert [each["event"] for each in webhook] == ["tomopt.run.diverged"]
    assert "lower the learning rates" in webhook[0]["text"]
    found = [a for a in client.read_artifacts() if a.key == f"{run}-status"]
    (status,) = (str(a.data) for a in found)
    assert "The fit stopped itself in epoch" in status


def test_a_block_of_prefects_is_told(flows, store, client, webhook, monkeypatch):
    import os  # noqa: PLC0415

    from prefect.blocks.notifications import CustomWebhookNotificationBlock  # noqa: PLC0415

    url = os.environ["TOMOPT_WEBHOOK"]
    block = CustomWebhookNotificationBlock(
        name="team", url=url, json_data={"text": "{{body}}", "subject": "{{subject}}"}
    )
    block.save("team", overwrite=True)
    monkeypatch.delenv("TOMOPT_WEBHOOK")
    asked = {"notify.webhook": "custom-webhook/team", "notify.on": ["finished"]}
    run = flows.optimise.optimise(str(TINY), asked, store.url)
    (message,) = webhook
    assert message["path"] == f"/{SECRET}"
    assert message["subject"] == f"{run}: finished"
    assert message["text"] == f"{run}: finished; 0 stages ran, 19 were cached"


def evaluation_key() -> str:
    from tests.pipeline.common import tiny  # noqa: PLC0415
    from tomopt_tasks.planning.plan import plan_study  # noqa: PLC0415

    return plan_study(tiny())[-1].key


@pytest.mark.parametrize("how", ["crashed", "cancelled"])
def test_a_killed_run_is_ended_in_its_manifest_once(flows, store, client, how):
    from prefect.states import Cancelled, Crashed  # noqa: PLC0415

    (run,) = store.runs()
    source = {"study": str(TINY), "changes": [["seed", "3"]]}
    store.append_run(run, {"event": "started", "source": source})
    flow = flows.optimise.optimise
    made = client.create_flow_run(flow)
    client.update_flow_run_labels(made.id, {"tomopt.run": run, "tomopt.store": store.url})
    state = {"crashed": Crashed, "cancelled": Cancelled}[how](message="exit status -9")
    before = len(store.read_run(run))
    for _ in range(2):
        getattr(flows.endings, how)(flow=flow, flow_run=made, state=state)
    entries = store.read_run(run)
    assert len(entries) == before + 1
    assert has_end(entries)
    assert entries[-1]["error"] == f"{how}: exit status -9"
    texts = [str(a.data) for a in client.read_artifacts() if a.flow_run_id == made.id]
    assert f"# {run}: {how}" in texts[0]
    assert f"tomopt run {TINY} --set 'seed=3' --store {store.url}" in texts[0]


def test_maintenance_tells_what_would_go_and_finds_damage(flows, store, client):
    assert flows.maintenance.gc(store=store.url) == 0
    n_objects = flows.maintenance.verify(store=store.url)
    assert n_objects > 19
    flip_bit(objects(store)[evaluation_key()])
    with pytest.raises(ValueError, match="damaged"):
        flows.maintenance.verify(store=store.url)
    keys = {artifact.key for artifact in client.read_artifacts()}
    assert {"gc-summary", "verify-summary", "verify-damaged"} <= keys


def test_a_webhook_that_does_not_answer_ends_nothing_and_its_address_is_not_said(
    monkeypatch, caplog
):
    from tomopt_tasks.config.notify import NotifySettings  # noqa: PLC0415

    settings = NotifySettings(webhook="TOMOPT_WEBHOOK")
    for url in ("", f"ftp://host/{SECRET}", f"http://127.0.0.1:1/{SECRET}", f"http://[/{SECRET}"):
        monkeypatch.setenv("TOMOPT_WEBHOOK", url)
        assert notify.post(settings, {"text": "hello"}) is False
    assert caplog.text.count("notify: ") == 4
    assert SECRET not in caplog.text
