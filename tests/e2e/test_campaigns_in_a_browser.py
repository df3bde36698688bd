"""`tomopt up` and a person at a browser: forms, pages, schedules, kills and cancellations.

`make e2e` installs the browser that it needs. Pictures for people: `.tomopt/pictures`.
"""

import importlib
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.browser import CHROMIUM, browser
from tests.e2e.project import CAMPAIGN_FILE, PATIENCE, ROOT, STUDY, TINY, Project, served
from tests.pipeline.common import objects
from tomopt_tasks.commands.verify import verify
from tomopt_tasks.config.load import load_study
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs.closing import has_end
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium"),
]

LONG = 300
"""Epochs of a run that is stopped in its middle."""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    os.environ["PREFECT_HOME"] = str(tmp_path_factory.mktemp("home"))
    importlib.import_module("tomopt_tasks.tasks")  # sets the rest, then imports Prefect
    with served(Project(tmp_path_factory.mktemp("e2e") / "project")) as api:
        yield api


@pytest.fixture(scope="module")
def page(api):
    with browser(ROOT / ".tomopt" / "pictures") as opened:
        yield opened


def undisturbed(tmp_path: Path, seed: int, epochs: int):
    """A run without Prefect, kills and cancellations, and the ref of its last checkpoint."""
    changes = [("seed", str(seed)), ("fit.phases[1].epochs", str(epochs))]
    study = load_study(TINY, changes)
    store = open_store(tmp_path / "undisturbed")
    with begin(study, store) as run:
        run_all(run)
    last = [stage for stage in plan_study(study) if stage.name == "fit_epoch"][-1]
    return run, store.find("checkpoint", last.key)


def assert_clean(api) -> None:
    """Everything in the store is as it was committed."""
    answer = verify(open_store(api.project.store), deep=True)
    assert answer.code == 0, answer.lines


def test_the_server_listens_to_this_machine_only(api):
    server = next(p for p in api.project.processes() if "server" in p.cmdline())
    heard = [c.laddr.ip for c in server.net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert set(heard) == {"127.0.0.1"}


def test_a_form_refuses_bad_values_and_a_run_from_it_shows_its_artifacts(api, page):
    form = f"{api.url}/v2/deployments/deployment/{api.deployment('optimise/optimise').id}/run"
    page.open(form)
    page.says("Muons Per Volume")
    page.click("data/studies/ladle_furnace.yaml")
    page.type(STUDY)
    page.click("int", 1)
    epochs = "document.querySelector('input[type=number]')"
    page.wait(lambda: page.run(f"{epochs} !== null"), "field for epochs")
    page.run(f"{epochs}.focus()")
    page.type("0")
    page.click("Submit")
    assert "greater than or equal to 1" in page.run(f"{epochs}.validationMessage")
    page.picture("1-refused")
    time.sleep(3)
    assert api.client.read_flow_runs() == []
    page.run(f"{epochs}.focus()")
    page.type("3")
    page.click("Submit")
    (run,) = api.wait(api.client.read_flow_runs, "a run", PATIENCE)
    assert run.parameters["quick"]["epochs"] == 3
    ended = api.ended(run)
    assert ended.state_name == "Completed"
    page.open(f"{api.url}/v2/runs/flow-run/{run.id}")
    page.says(ended.name)
    page.says("loss")
    page.picture("2-run")
    page.click("Artifacts")
    for name in ("progress", "metrics", "status", "report"):
        page.says(f"{ended.name}-{name}")
    page.picture("3-artifacts")
    page.click(f"{ended.name}-report", exact=False)
    found = [a for a in api.client.read_artifacts() if a.key == f"{ended.name}-report"]
    page.click(str(found[0].id)[:8], exact=False)  # of all versions of the report
    page.says("optimised")
    drawn = "[...document.querySelectorAll('img')].filter((i) => i.naturalWidth > 300).length"
    page.wait(lambda: page.run(drawn) >= 2, "pictures of the report")
    page.wait(lambda: page.run("document.querySelectorAll('svg[id*=mermaid]').length"), "graph")
    page.picture("4-report")


def test_a_bad_study_file_is_refused_and_its_form_takes_the_right_one_then(api, page):
    before = len(api.client.read_flow_runs())
    form = f"{api.url}/v2/deployments/deployment/{api.deployment('optimise/optimise').id}/run"
    page.open(form)
    page.says("Muons Per Volume")
    page.click("data/studies/ladle_furnace.yaml")
    page.type("data/studies/tiny.txt")
    page.click("Submit")
    page.says("Validation failed for field 'study'")
    page.picture("1-refused-by-server")
    assert len(api.client.read_flow_runs()) == before
    page.rest()
    page.wait(lambda: "Validation failed" not in page.text(), "the end of the message")
    page.click("data/studies/tiny.txt")
    page.type(STUDY)
    for _ in range(2):  # Prefect's form looks at its old errors once more
        page.click("Submit")
        page.rest()
        time.sleep(5)
        if len(api.client.read_flow_runs()) > before:
            break
    newest = max(api.client.read_flow_runs(), key=lambda run: run.created)
    assert len(api.client.read_flow_runs()) == before + 1
    assert api.ended(newest).state_name == "Completed"


def test_an_epoch_on_the_gpu_queue_resolves_its_device_before_its_key(api):
    run = api.ended(api.start("optimise/optimise-gpu", changes={"seed": 5}))
    assert run.state_name == "Completed"
    assert run.work_queue_name == "gpu"
    store = open_store(api.project.store)
    study = load_study(api.project.folder / STUDY, [("seed", "5")])
    epochs = [stage for stage in plan_study(study) if stage.name == "fit_epoch"]
    device = epochs[0].components["numerics"]["device"]
    assert device in ("cpu", "cuda")
    assert f"device:{device}" in run.tags
    assert all(store.find("checkpoint", stage.key) for stage in epochs)


def test_a_schedule_every_minute_fires_twice_and_the_second_run_is_cached(api):
    deployment = api.deployment("optimise/minutely")
    (schedule,) = deployment.schedules
    assert not schedule.active
    api.client.update_deployment_schedule(deployment.id, schedule.id, active=True)

    def both():
        runs = [r for r in api.client.read_flow_runs() if r.deployment_id == deployment.id]
        done = [r for r in runs if r.state.is_completed()]
        return sorted(done, key=lambda run: run.start_time) if len(done) >= 2 else None

    first, second = api.wait(both, "two scheduled runs", 2 * PATIENCE)[:2]
    api.client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    assert "auto-scheduled" in first.tags
    assert "19 stages ran, 0 were cached, of 19." in api.artifacts(first)["status"]
    assert "0 stages ran, 19 were cached, of 19." in api.artifacts(second)["status"]
    assert "data:image/svg+xml" in api.artifacts(second)["report"]


def test_a_run_whose_process_is_killed_has_crashed_and_the_next_one_has_the_same_bits(
    api, page, tmp_path
):
    asked = {"changes": {"seed": 7}, "quick": {"epochs": LONG}}
    run = api.in_the_middle(api.start("optimise/optimise", **asked))
    os.kill(int(run.labels["tomopt.pid"]), signal.SIGKILL)
    ended = api.ended(run)
    assert ended.state_name == "Crashed"
    status = api.wait(
        lambda: text if "crashed" in (text := api.artifacts(run).get("status", "")) else None,
        "what to do next",
        PATIENCE,
    )
    assert "Run it again with the same parameters to go on" in status
    page.open(f"{api.url}/v2/runs/flow-run/{run.id}")
    page.says("Crashed")
    page.picture("5-crashed")
    assert_clean(api)
    store = open_store(api.project.store)
    assert has_end(store.read_run(run.name))
    stored = api.checkpoints()
    again = api.ended(api.start("optimise/optimise", **asked), PATIENCE)
    assert again.state_name == "Completed"
    assert again.name == run.name
    expected, last = undisturbed(tmp_path, seed=7, epochs=LONG)
    assert store.find("checkpoint", last.key) == last
    entries = store.read_run(run.name)
    made = [each for entry in entries for each in entry.get("executed", {}).values()]
    assert sum("epoch" in each["label"] for each in made) < expected.epochs_done[1] + 5
    assert stored > 5


def test_a_run_is_cancelled_from_its_page_within_a_minute_and_goes_on(api, page, tmp_path):
    asked = {"changes": {"seed": 8}, "quick": {"epochs": LONG}}
    run = api.in_the_middle(api.start("optimise/optimise", **asked))
    page.open(f"{api.url}/v2/runs/flow-run/{run.id}")
    page.says("Running")
    menu = "document.querySelector('button[aria-haspopup=menu]')"
    page.wait(lambda: page.run(f"{menu} !== null"), "menu")
    box = f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])({menu}.getBoundingClientRect())"  # noqa: E501
    page.click_at(*page.run(box))
    page.click("Cancel")
    begun = time.monotonic()
    page.click("Cancel Flow Run")
    ended = api.ended(run, 60)
    assert time.monotonic() - begun < 60
    assert ended.state_name == "Cancelled"
    page.says("Cancelled")
    page.picture("6-cancelled")
    status = api.wait(
        lambda: text if "cancelled" in (text := api.artifacts(run).get("status", "")) else None,
        "what to do next",
        PATIENCE,
    )
    assert "Run it again with the same parameters to go on" in status
    assert_clean(api)
    store = open_store(api.project.store)
    assert has_end(store.read_run(run.name))
    again = api.ended(api.start("optimise/optimise", **asked), PATIENCE)
    assert again.state_name == "Completed"
    _, last = undisturbed(tmp_path, seed=8, epochs=LONG)
    assert store.find("checkpoint", last.key) == last


def page_key(run: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", run.lower())


def test_a_campaign_says_what_runs_is_cancelled_and_goes_on(api, page):
    asked = {"file": CAMPAIGN_FILE, "jobs": 2}
    run = api.client.create_flow_run_from_deployment(
        api.deployment("campaign/campaign").id, parameters=asked
    )

    def at_work():
        status = api.artifacts(run).get("status", "")
        found = re.search(r"\| seed=[12] \| (\d+) of \d+ epochs \| -?\d", status)
        return found is not None and int(found[1]) > 5

    api.wait(at_work, "epochs of a member", PATIENCE)
    seen = api.client.read_flow_run(run.id)
    assert seen.name.startswith("campaign.small-")
    assert {"campaign", "campaign:small"} <= set(seen.tags)
    page.open(f"{api.url}/v2/runs/flow-run/{run.id}")
    page.says(seen.name)
    page.click("Artifacts")
    page.says("small")
    page.picture("7-campaign")
    newest = max(
        (a for a in api.client.read_artifacts() if a.key == f"{page_key(seen.name)}-status"),
        key=lambda artifact: artifact.created,
    )
    page.open(f"{api.url}/v2/artifacts/artifact/{newest.id}")
    page.says("seed=1")
    page.picture("8-campaign-status")
    begun = time.monotonic()
    cancelling = importlib.import_module("prefect.states").Cancelling()
    api.client.set_flow_run_state(run.id, cancelling)
    ended = api.ended(run, 90)
    assert time.monotonic() - begun < 60
    assert ended.state_name == "Cancelled"
    status = api.wait(
        lambda: text if "cancelled" in (text := api.artifacts(run).get("status", "")) else None,
        "what to do next",
        PATIENCE,
    )
    assert f"tomopt campaign run {CAMPAIGN_FILE}" in status
    api.wait(lambda: not api.workers_of_campaigns(), "the end of its processes", PATIENCE)
    store = open_store(api.project.store)
    assert has_end(store.read_run(seen.name))
    assert_clean(api)
    again = api.client.create_flow_run_from_deployment(
        api.deployment("campaign/campaign").id, parameters=asked
    )
    assert api.ended(again, 2 * PATIENCE).state_name == "Completed"
    texts = api.artifacts(again)
    assert "data:image/svg+xml" in texts["report"]
    assert "optimised" in texts["leaderboard"]
    assert float(texts["progress"]) == 100.0
    (report,) = [a for a in api.client.read_artifacts()
                 if a.flow_run_id == again.id and str(a.key).endswith("-report")]  # fmt: skip
    page.open(f"{api.url}/v2/artifacts/artifact/{report.id}")
    page.says("optimised")
    page.picture("9-campaign-report")


def test_a_schedule_that_was_switched_on_stays_on_when_the_file_changes(api):
    deployment = api.deployment("optimise/optimise")
    (schedule,) = deployment.schedules
    api.client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    file = api.project.folder / "prefect.yaml"
    text = file.read_text()
    changed = text.replace("Optimise the detector of a study;", "Optimise the detector;")
    assert changed != text
    file.write_text(changed)
    assert "deployed  " in api.project.tomopt("up").stdout
    deployment = api.deployment("optimise/optimise")
    assert deployment.description.startswith("Optimise the detector;")
    (schedule,) = deployment.schedules
    assert schedule.active
    api.client.update_deployment_schedule(deployment.id, schedule.id, active=False)


def test_a_worker_killed_with_its_run_is_found_and_both_come_back(api):
    asked = {"changes": {"seed": 9}, "quick": {"epochs": LONG}}
    run = api.in_the_middle(api.start("optimise/optimise", **asked))
    worker = next(p for p in api.project.processes() if "worker" in p.cmdline())
    for process in [worker, *worker.children(recursive=True)]:
        process.kill()
    psutil.wait_procs([worker], timeout=10)
    before = len(objects(open_store(api.project.store)))
    sick = api.project.tomopt("doctor")
    assert sick.returncode == 1
    assert "its process is gone" in sick.stdout
    assert "cpu ended" in sick.stdout
    ended = api.ended(run)  # nobody is left to tell but the missing heartbeats
    assert ended.state_name == "Crashed"
    assert api.project.tomopt("doctor", "--mend").returncode == 1  # the worker needs `up`
    assert api.project.tomopt("up").returncode == 0
    assert api.project.tomopt("doctor").returncode == 0
    again = api.ended(api.start("optimise/optimise", **asked), PATIENCE)
    assert again.state_name == "Completed"
    assert len(objects(open_store(api.project.store))) > before
    assert_clean(api)
