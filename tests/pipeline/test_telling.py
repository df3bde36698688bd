"""Messages of runs and campaigns without Prefect, and secrets that stay where they are."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.pipeline.common import TINY, changed, fake_bodies, objects
from tests.pipeline.test_campaign import at_once
from tomopt_tasks.campaigns import run as campaign_run
from tomopt_tasks.cli import app
from tomopt_tasks.reports.text import Answer
from tomopt_tasks.runs.command import run_plain
from tomopt_tasks.runs.run import Request, begin, run_all
from tomopt_tasks.runs.standing import standing_of
from tomopt_tasks.runs.telling import told
from tomopt_tasks.store.opening import open_store

__all__ = ["fake_bodies"]

SECRET = "T0-very-secret"


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
    address = f"http://127.0.0.1:{server.server_port}/{SECRET}?token={SECRET}"
    monkeypatch.setenv("TOMOPT_WEBHOOK", address)
    yield heard
    server.shutdown()
    server.server_close()


@pytest.fixture
def no_report(monkeypatch):
    """These tests are not about the report, which takes most of the time."""
    monkeypatch.setattr("tomopt_tasks.reports.page.render_html", lambda data: "")


def events(heard) -> list[str]:
    return [each["event"] for each in heard]


def plain(store, **notify):
    study = changed(*((f"notify.{name}", json.dumps(value)) for name, value in notify.items()))
    return run_plain(study, store, Request(str(TINY)))


def everything_in(folder) -> bytes:
    return b"".join(path.read_bytes() for path in Path(folder).rglob("*") if path.is_file())


def test_a_plain_run_sends_the_messages_that_its_study_asks_for(store, webhook, no_report):
    plain(store, on=["finished", "best"])
    assert events(webhook) == ["tomopt.run.finished"]  # all was stored: no epoch is news
    message = webhook[0]
    assert message["path"] == f"/{SECRET}?token={SECRET}"
    assert message["study"] == "tiny"
    assert message["text"].endswith("finished; 0 stages ran, 19 were cached")
    plain(store, on=["failed"])
    assert len(webhook) == 1


def test_new_best_losses_of_epochs_that_run_are_told_and_those_of_cached_ones_are_not(
    tmp_path, fake_bodies, webhook
):
    store, study = open_store(tmp_path / "store"), changed(("notify.on", '["best"]'))
    with begin(study, store) as run, told(run) as epoch:
        run_all(run, epoch)
    texts = [each["text"].rpartition(": ")[2] for each in webhook]
    # losses fall in every epoch: 1, 1/2, 1/3, 1/4, 1/5; the first one is no news
    assert texts == [f"new best loss {1 / n:.4g} in epoch {n} of 5" for n in range(2, 6)]
    with begin(study, store) as run, told(run) as epoch:
        run_all(run, epoch)
    assert len(webhook) == len(texts)


def test_a_fit_that_sees_nothing_any_more_is_told_once(tmp_path, fake_bodies, webhook):
    fit_epoch = fake_bodies["fit_epoch"]

    def blinded(store, key, inputs, parents):
        if inputs.epoch < 2:
            return fit_epoch(store, key, inputs, parents)
        return store.put_record("checkpoint", key, {}, {"loss": None, "skipped_volumes": 4})

    fake_bodies["fit_epoch"] = blinded
    store, study = open_store(tmp_path / "store"), changed(("notify.on", '["diverged"]'))
    with begin(study, store) as run, told(run) as epoch:
        run_all(run, epoch)
    (message,) = webhook
    assert "In 1 of 3 epochs, first in epoch 3, too few muons were accepted" in message["text"]
    words = standing_of(run, "finished", "", {}).words
    assert "In 3 of 5 epochs, first in epoch 3, too few muons were accepted" in words


def test_a_plain_run_that_fails_says_so_and_how_to_go_on(store, webhook, monkeypatch):
    from tomopt_tasks.runs import body  # noqa: PLC0415

    def fail(*_: object) -> None:
        raise ValueError("no muon was accepted")

    monkeypatch.setattr(body, "bodies", lambda: {"evaluate": fail})
    (path,) = Path(store.url).glob("evaluation/*/*")
    path.unlink()
    with pytest.raises(ValueError, match="no muon was accepted"):
        plain(open_store(store.url), on=["finished", "failed"])
    assert events(webhook) == ["tomopt.run.failed"]
    assert "failed: no muon was accepted" in webhook[0]["text"]
    assert f"`tomopt run {TINY} --store {store.url}`" in webhook[0]["text"]


def test_a_block_needs_prefect_and_without_it_that_is_said(store, caplog, no_report):
    plain(store, webhook="slack-webhook/team")
    assert "block slack-webhook/team needs Prefect" in caplog.text


def test_no_secret_is_in_a_manifest_a_report_a_log_or_what_is_printed(
    store, webhook, caplog, capfd
):
    lines = plain(store, on=["finished"]).answer().lines
    assert events(webhook) == ["tomopt.run.finished"]
    said = "".join(lines) + caplog.text + "".join(capfd.readouterr())
    assert SECRET not in said
    assert SECRET.encode() not in everything_in(store.url)
    assert b"TOMOPT_WEBHOOK" in everything_in(Path(store.url) / "runs")


def test_an_address_in_a_study_is_refused_and_not_repeated(tmp_path):
    study = tmp_path / "study.yaml"
    secret = f"https://hooks.example.org/{SECRET}"
    study.write_text(TINY.read_text() + f"notify: {{webhook: '{secret}'}}\n")
    done = CliRunner().invoke(app, ["run", str(study), "--runner", "plain"])
    assert "notify.webhook" in str(done.exception)
    assert "the address itself is a secret" in str(done.exception)
    assert SECRET not in str(done.exception)


@pytest.mark.parametrize("fails", [False, True], ids=["finishes", "fails"])
def test_a_campaign_sends_one_message_and_its_members_none(
    tmp_path, fake_bodies, webhook, monkeypatch, fails
):
    from tomopt_tasks.campaigns import doing  # noqa: PLC0415

    monkeypatch.setattr(campaign_run, "run_jobs", at_once)
    answer = Answer({}, [])  # these bodies make no report
    monkeypatch.setattr(doing.Done, "answer", lambda self: answer)
    good = fake_bodies["evaluate"]

    def evaluate(store, key, inputs, parents):
        if fails:
            raise ValueError("no muon was accepted")
        return good(store, key, inputs, parents)

    fake_bodies["evaluate"] = evaluate
    file = tmp_path / "c.yaml"
    text = f"version: 1\ncampaign: c\nbase: {TINY}\nset: {{notify.on: [finished, failed, best]}}\n"
    file.write_text(f"{text}axes: {{fit.seed: [1, 2]}}\n")
    words = ["campaign", "run", str(file), "--store", str(tmp_path / "store"), "--jobs", "1"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == int(fails)
    assert events(webhook) == [f"tomopt.run.{'failed' if fails else 'finished'}"]
    assert webhook[0]["campaign"] == "c"
    assert ("2 jobs did not finish" in webhook[0]["text"]) is fails
    assert len(objects(open_store(tmp_path / "store"))) > 0
    assert SECRET.encode() not in everything_in(tmp_path / "store")
