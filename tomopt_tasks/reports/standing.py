"""How a run stands, for a person who sees only a page; plain facts, nothing is drawn here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Standing:
    """A run at one moment."""

    run: str
    state: str
    """running, finished, failed, crashed, cancelled."""
    epochs: tuple[int, int] = (0, 0)
    """Epochs that are done, and all."""
    now: str = ""
    """Label of the stage that runs, or comes next."""
    stages: Sequence[Mapping[str, Any]] = ()
    """Stages that are done, in order: label, name, ``ran`` (or cached), ``reason`` why it ran."""
    n_stages: int = 0
    """All stages of the plan."""
    history: Sequence[Mapping[str, Any]] = ()
    """One row of metrics an epoch so far: epoch, phase, loss, stopped."""
    progress: str = ""
    """How far it is, in a sentence, where there is more to say than epochs."""
    tables: Mapping[str, Sequence[Mapping[str, str]]] = field(default_factory=dict)
    """Title -> rows: what runs now, what did not succeed."""
    words: str = ""
    """Why it ended, and how to go on."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Study, seed, device, host: what people look for."""


def blind_epochs(history: Sequence[Mapping[str, Any]]) -> str:
    """How often a fit saw nothing at all, and since when; empty if it always saw something.

    Args:
        history: one row of metrics an epoch.
    """
    blind = [row for row in history if row.get("loss") is None and row.get("skipped_volumes")]
    if not blind:
        return ""
    return (
        f"In {len(blind)} of {len(history)} epochs, first in epoch {int(blind[0]['epoch']) + 1}, "
        "too few muons were accepted to predict any volume: such an epoch has no loss and moves "
        "nothing. Lower the learning rates, or start nearer to the volume."
    )


def metrics_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Name -> value of the metrics of an epoch, the main one first; None: unknown.

    Args:
        row: metrics of the epoch's checkpoint.
    """
    found = row.get("metrics") or {}
    return {n: found[n]["value"] for n in sorted(found, key=lambda n: not found[n]["main"])}


def metric_words(row: Mapping[str, Any]) -> str:
    """The metrics of an epoch in words; empty if it has none."""
    known = {name: value for name, value in metrics_of(row).items() if value is not None}
    return ", ".join(f"{name} {value:.4g}" for name, value in known.items())
