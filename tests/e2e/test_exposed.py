"""`tomopt up --host 0.0.0.0`: nobody without the password gets in, and it is written only once."""

import base64
import json
import stat
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from tests.e2e.project import STUDY, Project
from tests.e2e.test_postgres import free_port

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("default")]


def status(url: str, body: bytes | None = None, **headers: str) -> int:
    """The answer to a question, by GET or, with a body, by POST."""
    kind = {"Content-Type": "application/json"}
    try:
        with urlopen(Request(url, body, {**kind, **headers}), timeout=30) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code


@pytest.fixture
def exposed(tmp_path):
    project = Project(tmp_path / "project")
    try:
        up = project.tomopt("up", "--host", "0.0.0.0", "--port", str(free_port()))
        assert up.returncode == 0, up.stderr
        yield project, up.stdout
    finally:
        down = project.tomopt("down")
        left = project.processes()
        for process in left:
            process.kill()
    assert down.returncode == 0, down.stderr
    assert left == []


def test_an_exposed_server_wants_a_password_and_a_token_and_keeps_its_secret(exposed):
    project, said = exposed
    url = said.split()[1]
    file = project.folder / ".tomopt" / "password"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().strip()
    right, wrong = (
        f"Basic {base64.b64encode(text.encode()).decode()}" for text in (secret, "tomopt:guess")
    )
    token, count = f"{url}/api/csrf-token?client=me", f"{url}/api/flow_runs/count"
    assert status(token) == 401
    assert status(token, Authorization=wrong) == 401
    assert status(count, b"{}", Authorization=right) == 403  # as from somebody else's page
    with urlopen(Request(token, headers={"Authorization": right}), timeout=30) as answer:
        ours = json.load(answer)["token"]
    tokens = {"Prefect-Csrf-Token": ours, "Prefect-Csrf-Client": "me"}
    assert status(count, b"{}", **tokens) == 401
    assert status(count, b"{}", Authorization=right, **tokens) == 200
    ran = project.tomopt("run", STUDY)  # a command on this machine finds server and password
    assert ran.returncode == 0, ran.stderr
    password = secret.partition(":")[2]
    assert password not in said + ran.stdout + ran.stderr
    assert not any(password in " ".join(each.cmdline()) for each in project.processes())
    written = [path for path in project.folder.rglob("*") if path.is_file()]
    assert [path for path in written if password.encode() in path.read_bytes()] == [file]
