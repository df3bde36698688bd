"""Services of one machine without starting them: processes, passwords, and what the doctor sees."""

import asyncio
import importlib
import os
import platform
import socket
import stat
import subprocess
import sys
import time
from types import SimpleNamespace
from uuid import uuid4

import psutil
import pytest

from tests.pipeline.common import TINY
from tomopt_tasks.commands import health
from tomopt_tasks.core import UserError
from tomopt_tasks.runs.closing import has_end
from tomopt_tasks.store.opening import open_store

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

ROOT = TINY.parents[2]
SLEEPER = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"  # noqa: E501


@pytest.fixture
def services(prefect, tmp_path, monkeypatch):
    """The modules, in a project of their own."""
    (tmp_path / "prefect.yaml").touch()
    monkeypatch.chdir(tmp_path)
    names = ("machine", "service", "access", "doctor", "watching")
    return SimpleNamespace(**{name: importlib.import_module(f"flows.{name}") for name in names})


@pytest.fixture
def sleeper():
    """A process with a child; both are gone in the end."""
    process = subprocess.Popen([sys.executable, "-c", SLEEPER])
    found = psutil.Process(process.pid)
    deadline = time.monotonic() + 30
    while not found.children():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    everyone = [found, *found.children()]
    yield found
    for each in everyone:
        if each.is_running():
            each.kill()
    process.wait()


def test_a_process_is_ended_with_its_children_and_another_with_its_number_is_left_alone(
    services, sleeper
):
    mine = services.machine.Started(role="cpu", pid=sleeper.pid, began=sleeper.create_time())
    other = mine.model_copy(update={"began": mine.began - 100})
    children = sleeper.children()
    assert other.process() is None
    assert services.machine.end([other]) == []
    assert sleeper.is_running()
    assert services.machine.end([mine]) == ["cpu"]
    assert mine.process() is None
    assert not any(child.is_running() for child in children)


def test_what_runs_is_written_down_and_down_ends_exactly_that(services, sleeper):
    started = services.machine.Started(role="cpu", pid=sleeper.pid, began=sleeper.create_time())
    machine = services.machine.Machine(host="127.0.0.1", port=1, processes=(started,))
    services.machine.write_machine(machine)
    assert services.machine.read_machine() == machine
    assert services.service.down() == ["ended: cpu"]
    assert not services.machine.state_file().exists()
    assert services.service.down() == ["nothing of this project is up"]
    services.machine.state_file().write_text("{")
    with pytest.raises(UserError, match="delete it"):
        services.machine.read_machine()


def test_only_addresses_of_this_machine_need_no_password(services):
    exposed = services.access.exposed
    assert not any(map(exposed, ("127.0.0.1", "127.3.2.1", "localhost", "::1", "[::1]")))
    assert all(map(exposed, ("0.0.0.0", "::", "192.168.1.4", "server.example.org", "")))


def test_a_password_is_made_once_and_only_its_owner_can_read_it(services, monkeypatch):
    monkeypatch.delenv(services.access.PASSWORD, raising=False)
    assert services.access.password_for("127.0.0.1") == ([], "")
    said, secret = services.access.password_for("0.0.0.0")
    assert secret.startswith("tomopt:")
    assert len(secret) > 30
    assert secret.partition(":")[2] not in " ".join(said)
    (file,) = services.machine.state_file().parent.glob("password")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert services.access.password_for("0.0.0.0")[1] == secret
    monkeypatch.setenv(services.access.PASSWORD, "without-a-user")
    with pytest.raises(UserError, match="user:password"):
        services.access.password_for("0.0.0.0")


def test_server_and_workers_get_the_password_by_their_environment_only(services, monkeypatch):
    started = []
    monkeypatch.setattr(
        services.service,
        "start",
        lambda role, words, environment, _: (
            started.append((words, environment))
            or services.machine.Started(role=role, pid=os.getpid(), began=0.0)
        ),
    )
    machine = services.machine.Machine(host="0.0.0.0", port=1)
    environment = services.service._environment(machine, "tomopt:secret")
    services.service._start_workers(machine, environment, ["0", "1"], 3, TINY.parent)
    assert [words[words.index("--name") + 1] for words, _ in started] == ["cpu", "gpu0", "gpu1"]
    assert [env["CUDA_VISIBLE_DEVICES"] for _, env in started] == ["", "0", "1"]
    assert started[0][0].count("--work-queue") == 1
    assert not any("secret" in word for words, _ in started for word in words)
    assert all(env["PREFECT_API_AUTH_STRING"] == "tomopt:secret" for _, env in started)
    assert environment["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert "secret" not in services.machine.state_file().read_text()


def test_a_port_that_somebody_has_is_refused_or_another_one_is_taken(services, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match="choose another --port"):
            services.service._port("127.0.0.1", port)
        monkeypatch.setattr(services.service, "PORT", port)
        assert services.service._port("127.0.0.1", None) not in (0, port)


def test_the_doctor_finds_wrong_versions_full_disks_and_unreachable_stores(monkeypatch, tmp_path):
    assert list(health.wrong_versions()) == []
    wanted = ["pydantic<2", "no-such-package>=1", "numpy>=1", 'absent; extra == "x"']
    monkeypatch.setattr(health.metadata, "requires", lambda _: wanted)
    found = [each.found for each in health.wrong_versions()]
    assert [words.split()[0] for words in found] == ["pydantic", "no-such-package"]
    assert health.disk("store", tmp_path / "not" / "yet").cure == ""
    monkeypatch.setattr(health, "LEAST_FREE", 1e30)
    assert "gc --apply" in health.disk("store", tmp_path).cure
    (tmp_path / "STORE.json").write_text("not a mark")
    findings = list(health.environment_findings(str(tmp_path)))
    answer = health.answer_of(findings)
    assert answer.code == 1
    assert any(line.startswith("WRONG   store") for line in answer.lines)


def test_a_schedule_stays_as_somebody_switched_it_unless_the_file_has_another_word(tmp_path):
    deploying = importlib.import_module("flows.deploying")
    declared = deploying.switches_in(ROOT / "prefect.yaml")
    assert declared == dict.fromkeys(
        ("optimise/nightly", "campaign/every-six-hours", "gc/weekly", "verify/monthly"), False
    )
    file = {"a/on": True, "a/off": False, "b/now on": True, "b/new": False}
    earlier = {"a/on": True, "a/off": False, "b/now on": False}
    server = {"a/on": False, "a/off": True, "b/now on": False, "b/gone": True}
    assert deploying.kept(server, file, earlier) == {"a/on": False, "a/off": True}


def test_schedules_are_switched_on_the_server(services):
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.client.schemas.actions import DeploymentScheduleCreate  # noqa: PLC0415
    from prefect.client.schemas.schedules import CronSchedule  # noqa: PLC0415

    deploying = importlib.import_module("flows.deploying")
    flow = importlib.import_module("flows.optimise").optimise
    yearly = CronSchedule(cron="0 0 1 1 *")
    made = [
        DeploymentScheduleCreate(schedule=yearly, active=active, slug=slug)
        for slug, active in (("one", False), ("two", True), ("three", True))
    ]
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(flow), "d", schedules=made)
        asyncio.run(deploying.switch({"d/one": True, "d/two": False}))
        found = asyncio.run(deploying.switches())
        client.delete_deployment(deployment)
    ours = {place: on for place, on in found.items() if place.startswith("d/")}
    assert ours == {"d/one": True, "d/two": False, "d/three": True}


def test_a_server_plans_the_runs_of_a_schedule(tmp_path):
    """With SQLAlchemy 2.1 Prefect 3.8.8 takes a schedule and never plans a run of it."""
    importlib.import_module("flows.optimise")  # sets the rest, then imports Prefect
    settings = importlib.import_module("prefect.settings")
    url = f"sqlite+aiosqlite:///{tmp_path}/prefect.db"
    with settings.temporary_settings({settings.PREFECT_API_DATABASE_CONNECTION_URL: url}):
        planned = asyncio.run(_planned())
    assert len(planned) >= 3


async def _planned():
    """Runs that a server plans for a deployment with a schedule."""
    from prefect.server import models  # noqa: PLC0415
    from prefect.server.database import provide_database_interface  # noqa: PLC0415
    from prefect.server.schemas.core import Deployment, DeploymentSchedule, Flow  # noqa: PLC0415
    from prefect.server.schemas.schedules import CronSchedule  # noqa: PLC0415

    db = provide_database_interface()
    await db.create_db()
    every_minute = DeploymentSchedule(schedule=CronSchedule(cron="* * * * *"), active=True)
    async with db.session_context(begin_transaction=True) as session:
        flow = await models.flows.create_flow(session, Flow(name="f"))
        made = await models.deployments.create_deployment(
            session, Deployment(name="d", flow_id=flow.id, schedules=[every_minute])
        )
        runs = await models.deployments.schedule_runs(session, made.id)
    await (await db.engine()).dispose()
    return runs


def test_the_doctor_ends_runs_in_the_store_that_were_killed(store):
    (run,) = store.runs()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = {"name": platform.node(), "pid": gone.pid}
    start = {"event": "started", "at": "2026-01-01T00:00:00+00:00", "host": host}
    store.append_run(run, start)
    campaign = {"campaign": {"search": None}, "file": "c.yaml", "members": {"a": run}}
    store.append_run("campaign.c-1", {**start, **campaign})
    found = health.killed_runs(store.url, mend=False)
    assert [bool(each.cure) for each in found] == [True, True]
    assert not has_end(store.read_run(run))
    mended = health.killed_runs(store.url, mend=True)
    assert [each.mended for each in mended] == [True, True]
    assert has_end(store.read_run(run))
    assert has_end(store.read_run("campaign.c-1"))
    assert health.killed_runs(store.url, mend=True) == []


def test_the_doctor_crashes_runs_whose_process_is_gone_and_no_others(services, store):
    from prefect.client.orchestration import get_client  # noqa: PLC0415
    from prefect.states import Running  # noqa: PLC0415

    flow = importlib.import_module("flows.optimise").optimise
    (run,) = store.runs()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    store.append_run(run, {"event": "started"})
    common = {"tomopt.run": run, "tomopt.store": store.url, "tomopt.began": time.time()}
    here = {"tomopt.host": platform.node(), **common}
    cases = {
        "gone": {**here, "tomopt.pid": gone.pid},
        "number taken by another": {**here, "tomopt.pid": os.getpid(), "tomopt.began": 1.0},
        "alive": {**here, "tomopt.pid": os.getpid()},
        "elsewhere": {**common, "tomopt.host": f"not-{platform.node()}", "tomopt.pid": gone.pid},
    }
    mark = str(uuid4())
    with get_client(sync_client=True) as client:
        made = {}
        for name, labels in cases.items():
            made[name] = client.create_flow_run(flow, name=f"{name} {mark}").id
            client.update_flow_run_labels(made[name], labels)
            client.set_flow_run_state(made[name], Running())
        found = services.doctor._stale(mend=True)
        states = {name: client.read_flow_run(each).state_name for name, each in made.items()}
    assert {f.found.split(f" {mark}")[0] for f in found if mark in f.found} == {
        "gone",
        "number taken by another",
    }
    assert states == {
        "gone": "Crashed",
        "number taken by another": "Crashed",
        "alive": "Running",
        "elsewhere": "Running",
    }
    assert has_end(open_store(store.url).read_run(run))


def test_the_doctor_finds_servers_that_lost_their_command_and_ends_only_those(
    services, tmp_path, monkeypatch
):
    home = str(services.doctor.PREFECT_HOME.value())
    script = "import sys, time; time.sleep(60)"
    words = [sys.executable, "-c", script, "prefect server start"]
    spawn = (
        "import subprocess, sys; "
        "print(subprocess.Popen(sys.argv[1:], start_new_session=True, "
        "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid)"
    )

    def lost(home: str) -> int:
        """A process whose parent has ended."""
        done = subprocess.run(
            [sys.executable, "-c", spawn, *words],
            env={**os.environ, "PREFECT_HOME": home},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    ours, theirs = lost(home), lost(str(tmp_path))
    owned = subprocess.Popen(words, env={**os.environ, "PREFECT_HOME": home})
    try:
        found = {process.pid for process in services.doctor.orphans(None)}
        assert ours in found
        assert not found & {theirs, owned.pid}
        known = services.machine.Started(
            role="server", pid=ours, began=psutil.Process(ours).create_time()
        )
        machine = services.machine.Machine(host="127.0.0.1", port=1, processes=(known,))
        assert ours not in {process.pid for process in services.doctor.orphans(machine)}
    finally:
        for pid in (ours, theirs):
            psutil.Process(pid).kill()
        owned.kill()
        owned.wait()
