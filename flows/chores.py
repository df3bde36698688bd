"""What people and programs outside see of a flow without epochs: that it runs, and how it ended."""

import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flows.telling import About, Voice, attended
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.reports.standing import Standing


class Chore:
    """Tells about one of them; what came out is filled in before its end."""

    def __init__(self, kind: str, name: str, facts: Mapping[str, str], again: str) -> None:
        """Give the flow run a name and tags that people can search.

        Args:
            kind: head of its events.
            name: of the flow run, and head of its artifacts.
            facts: what people look for.
            again: what to do if it does not come to its end.
        """
        self.facts = {**facts, "host": platform.node()}
        self.page = Page(name)
        self.voice = Voice(About(kind, name, self.facts, {"again": again}))
        self.words = ""
        self.numbers: dict[str, Any] = {}
        self._name, self._again = name, again

    def standing(self, state: str, words: str = "") -> Standing:
        """How it stands now."""
        progress = self.words if state == "finished" else ""
        return Standing(
            run=self._name, state=state, progress=progress, words=words, facts=self.facts
        )

    def again(self) -> str:
        """What a person does next."""
        return self._again

    def result(self) -> tuple[str, Mapping[str, Any]]:
        """What was filled in."""
        return self.words, self.numbers


@contextmanager
def chore(kind: str, name: str, facts: Mapping[str, str], again: str) -> Iterator[Chore]:
    """Tell about a flow without epochs; see ``Chore``."""
    told = Chore(kind, name, facts, again)
    with attended(told):
        yield told
