"""Write down that a run ended which could not do so itself, because its process was killed."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from tomopt_tasks.config.notify import NotifySettings
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.history import stages_of
from tomopt_tasks.runs.manifest import ENDS, now, study_of
from tomopt_tasks.store.store import Store


@dataclass(frozen=True, slots=True)
class Closed:
    """What a run, or a campaign, has left behind."""

    epochs: tuple[int, int]
    """Epochs that are stored, and all; of a campaign none."""
    left: str
    """The same in words."""
    command: str
    """Shell command that goes on."""
    notify: NotifySettings | None
    wrote: bool
    """Whether the end was written now; False: the run had written it itself."""

    @property
    def words(self) -> str:
        """How to go on."""
        return f"{self.left} Run it again with the same parameters to go on, or: `{self.command}`"


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
    campaign = next((entry for entry in reversed(entries) if entry.get("campaign")), None)
    if campaign is not None:
        file, changes = str(campaign.get("file", "")), campaign.get("changes", ())
        command = campaign_command(file, changes, store.url)
        notify = _notify_of(campaign.get("notify"))
        return Closed((0, 0), _members(store, campaign), command, notify, open_ended)
    epochs = _epochs(store, entries)
    left = f"{epochs[0]} of {epochs[1]} epochs are stored and will not run again."
    return Closed(epochs, left, _command(store, entries), _notify(store, run), open_ended)


def _notify(store: Store, run: str) -> NotifySettings | None:
    with suppress(UserError):
        return study_of(store, run).notify
    return None


def _notify_of(settings: Any) -> NotifySettings | None:  # noqa: ANN401 - JSON
    with suppress(ValidationError):
        return None if settings is None else NotifySettings.model_validate(settings)
    return None


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


def _members(store: Store, entry: Mapping[str, Any]) -> str:
    """How many members of a campaign have finished; those of a search are not listed."""
    runs = [str(run) for run in entry["members"].values()]
    if entry["campaign"].get("search") is not None:
        return "Trials that have ended are stored and will not run again."
    ended = sum(any(row.get("event") == "finished" for row in store.read_run(run)) for run in runs)
    return f"{ended} of {len(runs)} members have finished, and what is stored will not run again."


def go_on(study: str, changes: Mapping[str, str], url: str) -> str:
    """The command that goes on with a run."""
    words = "".join(f" --set '{place}={value}'" for place, value in changes.items())
    return f"tomopt run {study}{words} --store {url}"


def campaign_command(file: str, changes: Sequence[Sequence[str]], url: str = "") -> str:
    """The command that makes a campaign, or goes on with it.

    Args:
        file: the campaign file.
        changes: (place in the file, YAML text).
        url: of the store; empty: the default.
    """
    words = ["tomopt", "campaign", "run", file]
    words += [word for place, text in changes for word in ("--set", f"{place}={text}")]
    return shlex.join([*words, *(["--store", url] if url else [])])
