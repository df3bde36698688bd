"""Schedules of learning rates that a phase can name by ``kind``: factors on a base rate.

A schedule begins after the search of rates, counts epochs (in parts of one, update by update) and
holds its last value.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from tomopt_tasks.callbacks.shapes import cosine_between, line_between
from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Natural, PositiveNumber, Probability, Unit

CycledMomentum = Annotated[float, Field(gt=0, lt=1), Unit("1")]


class ConstantSchedule(Config):
    """The base learning rate throughout."""

    kind: Literal["constant"] = "constant"
    """Name of this schedule."""


class _Timed(Config):
    length: Count | None = None
    """Epochs of the whole schedule, counted after the search of rates; >= 1; null: those of the
    phase. Write it down if the phase may be extended later: a schedule is part of each epoch."""


class LinearSettings(_Timed):
    """A straight line from init to final: a warm-up, if init is below final."""

    kind: Literal["linear"] = "linear"
    """Name of this schedule."""
    init: PositiveNumber = 0.1
    """Factor in the first epoch; > 0."""
    final: PositiveNumber = 1.0
    """Factor at the end of ``length`` and after it; > 0."""

    def factor(self, epochs: float, name: str = "") -> float:  # noqa: ARG002
        """Factor on the base rate after some epochs."""
        return line_between(self.init, self.final, epochs / (self.length or 1))


class _Warmed(_Timed):
    warmup: Natural = 0
    """Epochs of a linear rise to the base rate before; >= 0, < length, of which they are part."""
    init: PositiveNumber = 0.1
    """Factor at the start of the warm-up; > 0; read with a warm-up only."""

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        check_warmup(self.warmup, self.length)
        return self

    def factor(self, epochs: float, name: str = "") -> float:  # noqa: ARG002
        """Factor on the base rate after some epochs."""
        if epochs < self.warmup:
            return line_between(self.init, 1.0, epochs / self.warmup)
        length = (self.length or 1) - self.warmup
        return self.falling(min(epochs - self.warmup, float(length)), float(length))

    def falling(self, epochs: float, length: float) -> float:
        """Factor some epochs after the warm-up, at most those that are left."""
        raise NotImplementedError


class CosineSettings(_Warmed):
    """Half a cosine from the base rate to final."""

    kind: Literal["cosine"] = "cosine"
    """Name of this schedule."""
    final: PositiveNumber = 0.01
    """Factor at the end of ``length`` and after it; > 0."""

    def falling(self, epochs: float, length: float) -> float:
        """See above."""
        return cosine_between(1.0, self.final, epochs / length)


class ExponentialSettings(_Warmed):
    """The rate falls by the same factor in each epoch."""

    kind: Literal["exponential"] = "exponential"
    """Name of this schedule."""
    per_epoch: Probability = 0.95
    """Factor an epoch; > 0, <= 1."""

    def falling(self, epochs: float, length: float) -> float:  # noqa: ARG002
        """See above."""
        return float(self.per_epoch**epochs)


class StepSettings(_Warmed):
    """The rate falls by a factor every few epochs."""

    kind: Literal["step"] = "step"
    """Name of this schedule."""
    every: Count = 10
    """Epochs between falls; >= 1."""
    by: Probability = 0.1
    """Factor of each fall; > 0, <= 1."""

    def falling(self, epochs: float, length: float) -> float:  # noqa: ARG002
        """See above."""
        return float(self.by ** math.floor(epochs / self.every))


class _Factors(Config):
    init: PositiveNumber = 2.0
    """Factor in the first epoch; > 0."""
    mid: PositiveNumber = 10.0
    """Factor after the warm-up; > 0."""
    final: PositiveNumber = 1.0
    """Factor in the last epoch and after it; > 0."""


class Cycle(_Factors):
    """Factors on a base learning rate."""


class OneCycleSettings(_Factors):
    """Cosine from init to mid during the warm-up, then from mid to final; then constant."""

    kind: Literal["one_cycle"] = "one_cycle"
    """Name of this schedule."""
    length: Count | None = None
    """Epochs of the whole cycle, counted after the search of rates; >= 1; null: those of the
    phase. Write it down if the phase may be extended later: a schedule is part of each epoch."""
    warmup: Natural = 5
    """Epochs from init to mid; >= 0, < length."""
    per_parameter: dict[str, Cycle] = Field(default_factory=dict)
    """Other factors for ``xy``, ``z``, ``side`` or, e.g., ``xy.above``."""
    momentum: tuple[CycledMomentum, CycledMomentum, CycledMomentum] | None = None
    """Momentum, or beta_1, of all optimisers: first, after the warm-up, last; 0 to 1, both
    excluded; null: as the optimisers say."""

    @model_validator(mode="after")
    def _check_warmup(self) -> Self:
        check_warmup(self.warmup, self.length)
        return self

    def cycle(self, name: str) -> Cycle:
        """The factors of an optimiser: those of ``xy.above``, else of ``xy``, else the common."""
        common = Cycle(init=self.init, mid=self.mid, final=self.final)
        parameter = name.partition(".")[0]
        return self.per_parameter.get(name) or self.per_parameter.get(parameter) or common

    def factor(self, epochs: float, name: str = "") -> float:
        """Factor on the base rate of an optimiser after some epochs."""
        cycle = self.cycle(name)
        return self._along((cycle.init, cycle.mid, cycle.final), epochs)

    def momentum_at(self, epochs: float) -> float:
        """Momentum after some epochs; ``momentum`` must not be null."""
        assert self.momentum is not None
        return self._along(self.momentum, epochs)

    def _along(self, points: tuple[float, float, float], epochs: float) -> float:
        init, mid, final = points
        if epochs < self.warmup:
            return cosine_between(init, mid, epochs / self.warmup)
        rest = max(float(self.length or 1) - self.warmup, 1e-9)
        return cosine_between(mid, final, (epochs - self.warmup) / rest)


def check_warmup(warmup: int, length: int | None) -> None:
    """The warm-up ends before the schedule does.

    Raises:
        PydanticCustomError: at the warm-up.
    """
    if length is not None and warmup >= length:
        text = "got {warmup}, but it must be below length ({length}); shorten it"
        values = {"path": ("warmup",), "warmup": warmup, "length": length}
        raise PydanticCustomError("warmup", text, values)


_Any = (
    ConstantSchedule
    | LinearSettings
    | CosineSettings
    | ExponentialSettings
    | StepSettings
    | OneCycleSettings
)
ScheduleSettings = Annotated[_Any, Field(discriminator="kind")]
"""Any schedule of learning rates."""

SCHEDULES: Mapping[str, type[Config]] = {
    part.model_fields["kind"].default: part for part in get_args(_Any)
}
"""Kind -> settings, of every schedule."""


def completed(schedule: ScheduleSettings, epochs: int) -> ScheduleSettings:
    """With the length of a phase, where it has none of its own; warm-ups fit into it.

    Args:
        schedule: as written.
        epochs: of the phase; >= 1.
    """
    if isinstance(schedule, ConstantSchedule) or schedule.length is not None:
        return schedule
    update: dict[str, int] = {"length": epochs}
    if not isinstance(schedule, LinearSettings):
        update["warmup"] = min(schedule.warmup, epochs - 1)
    return schedule.model_copy(update=update)
