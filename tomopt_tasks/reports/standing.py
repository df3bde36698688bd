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
