"""What is worth telling while a run goes on, whoever listens: pages, programs, or a webhook."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.reports.standing import blind_epochs, metric_words, metrics_of
from tomopt_tasks.runs.run import Run
from tomopt_tasks.runs.standing import last_epoch, ran_here, stopped_because


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened in an epoch that ran, and was not only found."""

    occasion: str
    """epoch, best or diverged."""
    words: str
    facts: Mapping[str, Any]
    """Epoch (from 1), of how many, its loss, and its metrics."""


class Occasions:
    """Follows one run."""

    def __init__(self, run: Run) -> None:
        """Nothing has happened."""
        self._run = run
        self._best = math.inf

    def epoch(self) -> Iterator[Happening]:
        """Called when an epoch is done: what happened in it. Cached ones count, but say nothing."""
        run = self._run
        done, total = run.epochs_done
        row, step = run.history[-1], last_epoch(run)
        loss = row.get("loss")
        loss = float(loss) if isinstance(loss, float) and math.isfinite(loss) else None
        better = loss is not None and loss < self._best
        self._best = min(self._best, math.inf if loss is None else loss)
        if not ran_here(run, step):
            return
        facts: dict[str, Any] = {"epoch": int(row["epoch"]) + 1, "of": total, "loss": loss}
        facts |= {"metrics": metrics_of(row)} if row.get("metrics") else {}
        shown = "unknown" if loss is None else f"{loss:.4g}"
        said = ", ".join(filter(None, [f"loss {shown}", metric_words(row)]))
        yield Happening("epoch", f"{step.stage.label} ({done} of {total}): {said}", facts)
        if better and done > 1:
            yield Happening("best", f"new best loss {shown} in epoch {done} of {total}", facts)
        why = stopped_because(run) if row.get("stopped") else ""
        if not blind_epochs(run.history[:-1]):  # told once
            why = blind_epochs(run.history) or why
        if why and (loss is None or "diverged" in why):
            yield Happening("diverged", why, {**facts, "why": why})
