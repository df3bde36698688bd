"""Write down that a run ended which could not do so itself, because its process was killed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.history import stages_of
from tomopt_tasks.runs.manifest import ENDS, now, study_of
from tomopt_tasks.store.store import Store


@dataclass(frozen=True, slots=True)
class Closed:
    """What a run has left behind."""

    epochs: tuple[int, int]
    """Epochs that are stored, and all."""
    command: str
    """Shell command that goes on."""
    notify: NotifySettings | None
    wrote: bool
    """Whether the end was written now; False: the run had written it itself."""

    @property
    def words(self) -> str:
        """How to go on."""
        done, total = self.epochs
        return (
            f"{done} of {total} epochs are stored and will not run again. Run it again with the "
            f"same parameters to go on, or: `{self.command}`"
        )


def close(store: Store, run: str, why: str) -> Closed:
    """End the last session of a run in its manifest, unless it has an end.

    Whoever calls this knows that the process is gone. Nothing else is left to be done: what it
    had not committed is not in the store, and ``tomopt gc`` sweeps its drafts.

    Args:
        store: where the run is.
        run: its id.
        why: how it ended, e.g. "cancelled".

    Raises:
        UserError: there is no such run.
    """
    entries = store.read_run(run)
    if not entries:
        raise UserError(f"there is no run {run} in {store.url}")
    open_ended = not has_end(entries)
    if open_ended:
        entry = {"event": "interrupted", "at": now(), "error": why, "executed": {}}
        store.append_run(run, entry)
    try:
        notify = study_of(store, run).notify
    except UserError:
        notify = None
    return Closed(_epochs(store, entries), _command(store, entries), notify, open_ended)


def has_end(entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the last session of a manifest has ended."""
    events = [entry.get("event") for entry in entries]
    start = max((n for n, event in enumerate(events) if event == "started"), default=0)
    return any(event in ENDS for event in events[start:])


def _epochs(store: Store, entries: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    epochs = [stage.key for stage in stages_of(entries) if stage.name == "fit_epoch"]
    stored = set(store.keys("checkpoint"))
    return sum(key in stored for key in epochs), len(epochs)


def _command(store: Store, entries: Sequence[Mapping[str, Any]]) -> str:
    source: Mapping[str, Any] = next(
        (entry["source"] for entry in reversed(entries) if entry.get("source")), {}
    )
    return go_on(str(source.get("study", "")), dict(source.get("changes", ())), store.url)


def go_on(study: str, changes: Mapping[str, str], url: str) -> str:
    """The command that goes on with a run."""
    words = "".join(f" --set '{place}={value}'" for place, value in changes.items())
    return f"tomopt run {study}{words} --store {url}"
