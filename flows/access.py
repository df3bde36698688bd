"""Who may reach the server: only this machine, unless a password is needed too."""

import ipaddress
import os
import secrets
from pathlib import Path
from typing import Any

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL

from flows.machine import Machine
from tomopt_tasks.core import UserError
from tomopt_tasks.project import state_folder

PASSWORD = "PREFECT_SERVER_API_AUTH_STRING"
USER = "tomopt"


def exposed(host: str) -> bool:
    """Whether other machines may reach an address that a server listens at."""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return True


def api_settings(machine: Machine) -> dict[Any, str]:
    """Prefect's settings for a client of the standing server."""
    settings: dict[Any, str] = {PREFECT_API_URL: f"{machine.url}/api"}
    secret = _kept() if exposed(machine.host) else ""
    if secret:
        settings[PREFECT_API_AUTH_STRING] = secret
    return settings


def password_for(host: str) -> tuple[list[str], str]:
    """What to say, and the password where other machines may reach the server."""
    if not exposed(host):
        return [], ""
    given = os.environ.get(PASSWORD, "")
    if given:
        if ":" not in given:
            raise UserError(f"${PASSWORD} is not of the form user:password; set it so")
        _keep(given)
        return [f"password  that of ${PASSWORD}"], given
    kept = _kept()
    if not kept:
        kept = f"{USER}:{secrets.token_urlsafe(24)}"
        _keep(kept)
    return [f"password  in {_password_file()} (user:password; only you can read it)"], kept


def _password_file() -> Path:
    return state_folder() / "password"


def _kept() -> str:
    path = _password_file()
    return path.read_text(encoding="utf-8").strip() if path.exists() else ""


def _keep(secret: str) -> None:
    path = _password_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
