"""What people and programs outside see of a run: its status, epochs, events and messages.

Told by the flow, from the store, so that a fully cached rerun tells the same. The hooks at the end
write down how a run ended, also when its process was killed, and say how to go on.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flows.telling import About, Voice, attended
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.reports.standing import Standing
from tomopt_tasks.runs.occasions import Occasions
from tomopt_tasks.runs.run import Run
from tomopt_tasks.runs.standing import facts_of, how_to_go_on, standing_of

EVENTS = {"epoch": "epoch.finished", "best": "best.found", "diverged": "fit.diverged"}
"""What happens in an epoch -> event."""


class Watch:
    """Tells about one run while it goes on."""

    def __init__(self, run: Run) -> None:
        """Give the flow run a name and tags that people can search."""
        self.run = run
        self.page = Page(run.id)
        self.facts = facts_of(run)
        labels = {"run": run.id, "store": run.store.url}
        self.voice = Voice(About("run", run.id, self.facts, labels, run.study.notify))
        self._occasions = Occasions(run)

    def epoch(self) -> None:
        """An epoch is done: move the bar, and tell what is new."""
        done, total = self.run.epochs_done
        self.page.progress(done, total, self.run.history, lambda: self.standing("running"))
        for each in self._occasions.epoch():
            if each.occasion == "epoch":
                self.voice.log(each.words)
            self.voice.event(EVENTS[each.occasion], each.facts)
            self.voice.tell(each.occasion, each.words)

    def standing(self, state: str, words: str = "") -> Standing:
        """How the run stands now."""
        return standing_of(self.run, state, words, self.facts)

    def again(self) -> str:
        """What a person does next."""
        return how_to_go_on(self.run)

    def result(self) -> tuple[str, Mapping[str, Any]]:
        """How much ran."""
        ran, cached = len(self.run.executed), self.run.cached
        return f"{ran} stages ran, {cached} were cached", {"executed": ran, "cached": cached}


@contextmanager
def watched(run: Run) -> Iterator[Watch]:
    """Tell about a run, and in the end how it ended."""
    watch = Watch(run)
    n_hits = sum(step.ref is not None for step in run.steps)
    watch.voice.log(f"run {run.id}: {n_hits} of {len(run.steps)} stages are stored already")
    with attended(watch):
        yield watch
