"""Tell people about a run by a webhook; its address is a secret and is never said or stored."""

import json
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any
from urllib.request import Request, urlopen

from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.runs.manifest import now

PATIENCE = 10.0
"""Seconds that a webhook may take."""

log = logging.getLogger(__name__)


ToBlock = Callable[[str, str, str], None]
"""Has a Prefect block say something: its name, the text, the subject."""


def send(
    settings: NotifySettings | None,
    occasion: str,
    run: str,
    words: str,
    facts: Mapping[str, Any],
    to_block: ToBlock | None = None,
) -> None:
    """Send a message if the study asks for it on this occasion.

    Args:
        settings: of the study.
        occasion: finished, failed, ...
        run: whose message it is.
        words: for people.
        facts: for programs.
        to_block: sends to a block; None: Prefect is not there.
    """
    if settings is None or occasion not in settings.on:
        return
    message = payload(f"tomopt.run.{occasion}", run, words, facts)
    if not settings.is_block:
        post(settings, message)
        return
    if to_block is None:
        log.warning("notify: nobody was told, because block %s needs Prefect", settings.webhook)
        return
    try:
        to_block(settings.webhook, message["text"], f"{run}: {occasion}")
    except Exception as error:  # noqa: BLE001 - a message is never worth a run
        kind = type(error).__name__
        log.warning("notify: block %s did not take the message (%s)", settings.webhook, kind)


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
