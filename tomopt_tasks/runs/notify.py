"""Tell people about a run by a webhook; its address is a secret and is never said or stored."""

import json
import logging
import os
from collections.abc import Mapping
from typing import Any
from urllib.request import Request, urlopen

from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.runs.manifest import now

PATIENCE = 10.0
"""Seconds that a webhook may take."""

log = logging.getLogger(__name__)


def payload(event: str, run: str, text: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent: ``text`` for chats that show it, the rest for programs."""
    return {"event": event, "run": run, "text": f"{run}: {text}", "at": now(), **facts}


def post(settings: NotifySettings, message: Mapping[str, Any]) -> bool:
    """Send a message to the webhook that an environment variable names.

    Nothing here may end a run: what does not work is a warning without the address.

    Args:
        settings: with the name of a variable.
        message: JSON.

    Returns:
        Whether it was taken.
    """
    name = settings.webhook
    url = os.environ.get(name, "")
    if not url.startswith(("https://", "http://")):
        state = "holds no http(s) address" if url else "is not set"
        log.warning("notify: nobody was told, because $%s %s here", name, state)
        return False
    try:
        request = Request(
            url,
            data=json.dumps(message).encode(),
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        with urlopen(request, timeout=PATIENCE):
            return True
    except Exception as error:  # noqa: BLE001 - a message is never worth a run
        log.warning(
            "notify: the webhook in $%s did not take the message (%s)", name, type(error).__name__
        )
        return False
