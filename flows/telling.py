"""A flow run as people and programs outside see it: name, tags, logs, events, messages, its end.

Nothing here may end what runs: what cannot be told is logged once.
"""

import logging
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as this_flow

from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.reports.standing import Standing
from tomopt_tasks.runs.notify import send

PREFIX = "tomopt"
"""Head of the names of events and labels."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class About:
    """What a flow run is about."""

    kind: str
    """run, campaign, evaluation, gc or verify: head of its events."""
    name: str
    facts: Mapping[str, str] = field(default_factory=dict)
    """What people look for, as tags ``name:text``."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the hooks at the end need to know."""
    notify: NotifySettings | None = None


class Voice:
    """Says things about the flow run that it is made in."""

    def __init__(self, about: About) -> None:
        """Give the flow run a name and tags that people can search."""
        self.about = about
        self._said: set[str] = set()
        self._safely(self._name)

    def event(self, name: str, facts: Mapping[str, Any]) -> None:
        """Emit ``tomopt.<name>``."""
        about = self.about
        resource = {
            "prefect.resource.id": f"{PREFIX}.{about.kind}.{about.name}",
            "prefect.resource.name": about.name,
        }
        self._safely(lambda: emit_event(f"{PREFIX}.{name}", resource, payload=dict(facts)))

    def log(self, words: str) -> None:
        """A line among the logs of the flow run."""
        self._safely(lambda: get_run_logger().info("%s", words))

    def tell(self, occasion: str, words: str) -> None:
        """Send the message that the study asks for."""
        about = self.about
        notify(about.notify, occasion, about.name, words, about.facts)

    def _name(self) -> None:
        about = self.about
        tags = {*this_flow.tags, *(f"{name}:{text}" for name, text in about.facts.items())}
        labels: dict[str, bool | int | float | str] = {
            f"{PREFIX}.host": platform.node(),
            f"{PREFIX}.pid": os.getpid(),
            f"{PREFIX}.began": time.time(),
            **{f"{PREFIX}.{name}": text for name, text in about.labels.items()},
        }
        with get_client(sync_client=True) as client:
            client.update_flow_run(this_flow.id, name=about.name, tags=tags)
            client.update_flow_run_labels(this_flow.id, labels)

    def _safely(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - to be seen is never worth a fit
            text = f"{type(error).__name__}: {error}"
            if text not in self._said:
                log.warning("Prefect was not told everything about this run: %s", text)
            self._said.add(text)


@runtime_checkable
class Told(Protocol):
    """Something that goes on and can say how."""

    @property
    def voice(self) -> Voice:
        """Says it."""

    @property
    def page(self) -> Page:
        """Shows it."""

    def standing(self, state: str, words: str = "") -> Standing:
        """How it stands now."""

    def again(self) -> str:
        """What a person does next if it has failed or was stopped."""

    def result(self) -> tuple[str, Mapping[str, Any]]:
        """What came out, in words and for programs."""


@contextmanager
def attended(told: Told) -> Iterator[None]:
    """Say how it stands at its beginning and its end, whatever that is."""
    voice, kind = told.voice, told.voice.about.kind
    told.page.status(told.standing("running"))
    try:
        yield
    except Exception as problem:
        told.page.status(told.standing("failed", f"It failed: {problem}\n\n{told.again()}"))
        voice.event(f"{kind}.failed", {"error": str(problem)})
        voice.tell("failed", f"failed: {problem}. {told.again()}")
        raise
    except KeyboardInterrupt as stop:
        words = f"It was stopped ({stop or 'interrupted'}). {told.again()}"
        told.page.status(told.standing("stopped", words))
        raise
    words, facts = told.result()
    told.page.status(told.standing("finished"))
    voice.log(f"finished: {words}")
    voice.event(f"{kind}.finished", facts)
    voice.tell("finished", f"finished; {words}")


def notify(
    settings: NotifySettings | None, occasion: str, run: str, words: str, facts: Mapping[str, Any]
) -> None:
    """Send a message if the study asks for it, by a webhook or a block of Prefect's."""
    send(settings, occasion, run, words, facts, _to_block)


def _to_block(name: str, text: str, subject: str) -> None:
    block: Any = Block.load(name)
    block.notify(text, subject=subject)
