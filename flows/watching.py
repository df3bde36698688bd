"""What people and programs outside see of a run: its name, tags, status, events and messages.

Told by the flow, from the store, so that a fully cached rerun tells the same. The hooks at the end
write down how a run ended, also when its process was killed, and say how to go on. Nothing here
may end a fit: what cannot be told is logged once.
"""

import logging
import math
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run as this_flow

from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.reports.standing import Standing
from tomopt_tasks.runs.closing import go_on
from tomopt_tasks.runs.notify import payload, post
from tomopt_tasks.runs.run import Run
from tomopt_tasks.runs.standing import last_epoch, ran_here, standing_of, stopped_because

PREFIX = "tomopt"
"""Head of the names of events and labels."""

log = logging.getLogger(__name__)


class Watch:
    """Tells about one run while it goes on."""

    def __init__(self, run: Run) -> None:
        """Give the flow run a name and tags that people can search."""
        self.run = run
        self.page = Page(run.id)
        self.facts = {
            "study": run.study.study,
            "seed": str(run.study.seed),
            "device": _device(run),
            "host": platform.node(),
        }
        self._best = math.inf
        self._said: set[str] = set()
        self._safely(self._name)

    def epoch(self) -> None:
        """An epoch is done: move the bar, and tell what is new."""
        done, total = self.run.epochs_done
        self.page.progress(done, total, self.run.history, lambda: self.standing("running"))
        row = self.run.history[-1]
        loss = row.get("loss")
        loss = float(loss) if isinstance(loss, float) and math.isfinite(loss) else None
        facts = {"epoch": int(row["epoch"]) + 1, "of": total, "loss": loss}
        step = last_epoch(self.run)
        made = ran_here(self.run, step)
        if made:
            self.log(f"{step.stage.label} ({done} of {total}): loss {_shown(loss)}")
            self.event("epoch.finished", facts)
        if loss is not None and loss < self._best:
            self._best = loss
            if made and done > 1:
                self.event("best.found", facts)
                self.tell("best", f"new best loss {loss:.4g} in epoch {done} of {total}")
        why = stopped_because(self.run) if made and row.get("stopped") else ""
        if "diverged" in why:
            self.event("fit.diverged", {**facts, "why": why})
            self.tell("diverged", why)

    def standing(self, state: str, words: str = "") -> Standing:
        """How the run stands now."""
        return standing_of(self.run, state, words, self.facts)

    def event(self, name: str, facts: Mapping[str, Any]) -> None:
        """Emit ``tomopt.<name>`` about the run."""
        resource = {
            "prefect.resource.id": f"{PREFIX}.run.{self.run.id}",
            "prefect.resource.name": self.run.id,
        }
        self._safely(lambda: emit_event(f"{PREFIX}.{name}", resource, payload=dict(facts)))

    def log(self, words: str) -> None:
        """A line among the logs of the flow run."""
        self._safely(lambda: get_run_logger().info("%s", words))

    def tell(self, occasion: str, words: str) -> None:
        """Send the message that the study asks for."""
        notify(self.run.study.notify, occasion, self.run.id, words, self.facts)

    def _name(self) -> None:
        tags = {*this_flow.tags, *(f"{name}:{text}" for name, text in self.facts.items())}
        labels: dict[str, bool | int | float | str] = {
            f"{PREFIX}.run": self.run.id,
            f"{PREFIX}.store": self.run.store.url,
            f"{PREFIX}.host": platform.node(),
            f"{PREFIX}.pid": os.getpid(),
            f"{PREFIX}.began": time.time(),
        }
        with get_client(sync_client=True) as client:
            client.update_flow_run(this_flow.id, name=self.run.id, tags=tags)
            client.update_flow_run_labels(this_flow.id, labels)

    def _safely(self, call: Callable[[], object]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - to be seen is never worth a fit
            text = f"{type(error).__name__}: {error}"
            if text not in self._said:
                log.warning("Prefect was not told everything about this run: %s", text)
            self._said.add(text)


@contextmanager
def watched(run: Run) -> Iterator[Watch]:
    """Tell about a run, and in the end how it ended."""
    watch = Watch(run)
    watch.page.status(watch.standing("running"))
    n_hits = sum(step.ref is not None for step in run.steps)
    watch.log(f"run {run.id}: {n_hits} of {len(run.steps)} stages are stored already")
    try:
        yield watch
    except Exception as problem:
        watch.page.status(watch.standing("failed", f"It failed: {problem}\n\n{how_to_go_on(run)}"))
        watch.event("run.failed", {"error": str(problem)})
        watch.tell("failed", f"failed: {problem}. {how_to_go_on(run)}")
        raise
    except KeyboardInterrupt as stop:
        words = f"It was stopped ({stop or 'interrupted'}). {how_to_go_on(run)}"
        watch.page.status(watch.standing("stopped", words))
        raise
    watch.page.status(watch.standing("finished"))
    watch.log(f"finished: {len(run.executed)} stages ran, {run.cached} were cached")
    watch.event("run.finished", {"executed": len(run.executed), "cached": run.cached})
    watch.tell("finished", f"finished; {len(run.executed)} stages ran, {run.cached} were cached")


def how_to_go_on(run: Run) -> str:
    """What a person does next; nothing that is stored runs again."""
    done, total = run.epochs_done
    asked = run.request
    command = go_on(asked.study, asked.changes, run.store.url)
    return (
        f"{done} of {total} epochs are stored and will not run again. Run it again with the same "
        f"parameters to go on, or: `{command}`"
    )


def notify(
    settings: NotifySettings | None, occasion: str, run: str, words: str, facts: Mapping[str, Any]
) -> None:
    """Send a message if the study asks for it."""
    if settings is None or occasion not in settings.on:
        return
    message = payload(f"{PREFIX}.run.{occasion}", run, words, facts)
    if not settings.is_block:
        post(settings, message)
        return
    try:
        block: Any = Block.load(settings.webhook)
        block.notify(message["text"], subject=f"{run}: {occasion}")
    except Exception as error:  # noqa: BLE001 - a message is never worth a run
        kind = type(error).__name__
        log.warning("notify: block %s did not take the message (%s)", settings.webhook, kind)


def _shown(loss: float | None) -> str:
    return "unknown" if loss is None else f"{loss:.4g}"


def _device(run: Run) -> str:
    """The device type in the keys of the run."""
    last = run.steps[-1].stage.components
    return str(last["numerics"]["device"])
