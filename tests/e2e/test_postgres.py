"""Three campaigns at once on a Prefect server whose database is PostgreSQL; skipped without it."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "pipeline" / "tiny.yaml"


def _initdb() -> str | None:
    known = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return shutil.which("initdb") or (str(known[-1]) if known else None)


INITDB = _initdb()

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(INITDB is None, reason="no PostgreSQL: apt-get install postgresql"),
]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def database(tmp_path):
    """Address of an empty database of its own, on a free port of this machine."""
    # PostgreSQL refuses to run as root
    as_user = ["runuser", "-u", "postgres", "--"] if getpass.getuser() == "root" else []
    folder = Path(f"/tmp/tomopt-postgres-{os.getpid()}")  # another user enters it
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": "/"}
    port = free_port()
    server = None
    try:
        options = ["-D", str(folder / "data"), "-U", "tomopt", "--auth=trust", "--no-sync"]
        subprocess.run([*as_user, INITDB, *options], check=True, **quiet)
        command = [str(Path(INITDB).with_name("postgres")), "-D", str(folder / "data")]
        command += ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"]
        server = subprocess.Popen([*as_user, *command], **quiet)
        _await_port(port)
        yield f"postgresql+asyncpg://tomopt@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            stop(server)
        shutil.rmtree(folder)


def _await_port(port: int) -> None:
    for _ in range(1200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("PostgreSQL has not started")


@pytest.fixture
def server(tmp_path, database):
    """Environment of a client of a Prefect server on that database, and the server's log."""
    port, log = free_port(), tmp_path / "server.log"
    env = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "home"),
        "PREFECT_LOCAL_STORAGE_PATH": str(tmp_path / "results"),
        "PREFECT_API_DATABASE_CONNECTION_URL": database,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--no-ui"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=out, stderr=out)
    try:
        _await_server(env["PREFECT_API_URL"], process)
        yield env, log
    finally:
        stop(process)


def _await_server(url: str, process: subprocess.Popen) -> None:
    for _ in range(1800):
        assert process.poll() is None, "the server has ended"
        try:
            with urlopen(f"{url}/health", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise AssertionError("the server has not started")


RUN = """
import sys
from flows.campaign import campaign
campaign(sys.argv[1], store=sys.argv[2], jobs=1)
"""


def test_three_campaigns_at_once_on_postgresql_without_an_error(tmp_path, server):
    env, log = server
    runs = []
    for name in ("one", "two", "three"):
        file = tmp_path / f"{name}.yaml"
        axes = 'axes: {"fit.phases[0].epochs": [1, 2], seed: {seeds: 2}}'
        file.write_text(f"version: 1\ncampaign: {name}\nbase: {TINY}\n{axes}\n", encoding="utf-8")
        command = [sys.executable, "-c", RUN, str(file), str(tmp_path / f"store-{name}")]
        with (tmp_path / f"{name}.log").open("wb") as out:
            runs.append(subprocess.Popen(command, env=env, cwd=tmp_path, stdout=out, stderr=out))
    codes = [run.wait(timeout=900) for run in runs]
    said = {name: (tmp_path / f"{name}.log").read_text() for name in ("one", "two", "three")}
    assert codes == [0, 0, 0], said
    assert _states(env["PREFECT_API_URL"]) == ["COMPLETED"] * 3
    complaints = [
        line for line in log.read_text().splitlines() if "ERROR" in line or "Traceback" in line
    ]
    assert complaints == []


def _states(url: str) -> list[str]:
    head = {"Content-Type": "application/json"}
    asked = Request(f"{url}/flow_runs/filter", data=b"{}", headers=head, method="POST")
    with urlopen(asked, timeout=30) as answer:
        return [run["state_type"] for run in json.load(answer)]
