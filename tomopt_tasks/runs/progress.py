"""What a person sees of a run: bars on a terminal, plain lines in a pipe, nothing in a test."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TextIO, runtime_checkable

from tomopt_tasks.planning.inputs import VolumesInputs
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.reports.standing import metric_words
from tomopt_tasks.store.refs import Ref

LINE_EVERY = 2.0
"""Seconds between two lines about epochs in a pipe."""


@runtime_checkable
class Progress(Protocol):
    """Hears what a run does."""

    def shown(self, run: str, stages: Sequence[Stage]) -> AbstractContextManager[None]:
        """A context in which the display is up."""

    def running(self, stage: Stage) -> None:
        """The body of a stage is about to run."""

    def done(self, stage: Stage, ref: Ref, seconds: float | None) -> None:
        """A stage has its result; ``seconds`` is None for a hit."""


class NoProgress:
    """Shows nothing."""

    @contextmanager
    def shown(self, run: str, stages: Sequence[Stage]) -> Iterator[None]:  # noqa: ARG002
        """Nothing."""
        yield

    def running(self, stage: Stage) -> None:
        """Nothing."""

    def done(self, stage: Stage, ref: Ref, seconds: float | None) -> None:
        """Nothing."""


@dataclass
class Tally:
    """How far a run is."""

    n_stages: int = 0
    n_epochs: int = 0
    n_volumes: int = 0
    """Volumes that one epoch looks at."""
    stages: int = 0
    epochs: int = 0
    loss: float | None = None
    metrics: str = ""
    """Those of the last epoch, in words."""
    timed: list[float] = field(default_factory=list)
    """Times of the epochs that ran [s]."""

    @classmethod
    def of(cls, stages: Sequence[Stage]) -> "Tally":
        """The tally of a plan of which nothing is done."""
        inputs = [each.inputs for each in stages if isinstance(each.inputs, VolumesInputs)]
        return cls(
            n_stages=len(stages),
            n_epochs=sum(stage.name == "fit_epoch" for stage in stages),
            n_volumes=sum(each.scene.n_volumes for each in inputs if each.split == "train"),
        )

    def add(self, stage: Stage, ref: Ref, seconds: float | None) -> None:
        """Count a stage."""
        self.stages += 1
        if stage.name == "fit_epoch":
            self.epochs += 1
            loss = ref.metrics.get("loss")
            self.loss = loss if isinstance(loss, float) else None
            self.metrics = metric_words(ref.metrics)
            if seconds is not None:
                self.timed.append(seconds)

    def words(self) -> str:
        """Volumes, loss and time left, as far as they are known."""
        done, total = self.epochs * self.n_volumes, self.n_epochs * self.n_volumes
        parts = [f"{done}/{total} volumes"] if total else []
        if self.loss is not None:
            parts.append(f"loss {self.loss:.4g}")
        parts += filter(None, [self.metrics])
        if self.timed and self.epochs < self.n_epochs:
            recent = self.timed[-20:]
            left = (self.n_epochs - self.epochs) * sum(recent) / len(recent)
            parts.append(f"{int(left // 60)}:{int(left % 60):02d} left")
        return ", ".join(parts)


class Lines:
    """Plain lines: one a stage that ran, and for epochs one every two seconds at most."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self.stream = stream
        self.tally = Tally()
        self._hits = 0
        self._spoken = 0.0

    @contextmanager
    def shown(self, run: str, stages: Sequence[Stage]) -> Iterator[None]:
        """Say what begins, and how many hits there were since the last line."""
        self.tally = Tally.of(stages)
        self._say(f"run {run}: {len(stages)} stages, {self.tally.n_epochs} of them epochs")
        yield
        self._say_hits()

    def running(self, stage: Stage) -> None:
        """Nothing: lines say what is done."""

    def done(self, stage: Stage, ref: Ref, seconds: float | None) -> None:
        """A line for a stage that ran; hits are counted."""
        self.tally.add(stage, ref, seconds)
        if seconds is None:
            self._hits += 1
            return
        self._say_hits()
        if stage.name != "fit_epoch":
            self._say(f"{stage.label}: {seconds:.2f} s")
            return
        last = self.tally.epochs == self.tally.n_epochs
        if last or time.monotonic() - self._spoken > LINE_EVERY:
            self._spoken = time.monotonic()
            self._say(f"{stage.label}: {self.tally.words()}")

    def _say_hits(self) -> None:
        if self._hits:
            self._say(f"{self._hits} stages cached")
        self._hits = 0

    def _say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class Bars:
    """Two bars on a terminal: all stages, and the epochs with volumes, loss and time left."""

    def __init__(self, stream: TextIO) -> None:
        """Draw on ``stream``."""
        self.stream = stream
        self.tally = Tally()

    @contextmanager
    def shown(self, run: str, stages: Sequence[Stage]) -> Iterator[None]:
        """Draw the bars until the run ends."""
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn  # noqa: PLC0415
        from rich.progress import Progress as Display  # noqa: PLC0415

        self.tally = Tally.of(stages)
        text, words = TextColumn("{task.description:<24}"), TextColumn("{task.fields[words]}")
        columns = (text, BarColumn(bar_width=24), MofNCompleteColumn(), words)
        with Display(*columns, console=Console(file=self.stream)) as self.display:
            self.all = self.display.add_task("stages", total=self.tally.n_stages, words=run)
            self.fit = self.display.add_task(
                "epochs", total=self.tally.n_epochs, words="", visible=self.tally.n_epochs > 0
            )
            yield

    def running(self, stage: Stage) -> None:
        """Name the stage beside its bar."""
        bar = self.fit if stage.name == "fit_epoch" else self.all
        self.display.update(bar, description=stage.label)

    def done(self, stage: Stage, ref: Ref, seconds: float | None) -> None:
        """Move the bars."""
        self.tally.add(stage, ref, seconds)
        self.display.update(self.all, completed=self.tally.stages)
        self.display.update(self.fit, completed=self.tally.epochs, words=self.tally.words())


def progress_for(stream: TextIO = sys.stderr) -> Progress:
    """Bars on a terminal, lines elsewhere."""
    return Bars(stream) if stream.isatty() else Lines(stream)
