"""How a detector is fitted: what may move, in which phases, with which optimisers."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
)
from pydantic_core import PydanticCustomError

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import (
    Count,
    Flag,
    Natural,
    PositiveLength,
    PositiveNumber,
    Seed,
)
from tomopt_tasks.wrapper.callback_settings import CallbackSettings, CostCoefWarmupSettings
from tomopt_tasks.wrapper.guard_settings import Guards
from tomopt_tasks.wrapper.optimiser_settings import OptimiserSettings, SGDSettings
from tomopt_tasks.wrapper.schedule_settings import ScheduleSettings, completed
from tomopt_tasks.wrapper.start_settings import MultiStart

Parameter = Literal["xy", "z", "side", "mu", "sig", "norm"]
"""What a panel can learn: centre, height, and side (its share of the budget, if there is one); a
heat map: centres, widths and height of its Gaussians, and its own height ``z``."""


class Tie(Config):
    """Parameters that share what they learn."""

    tie: Literal["group", "all", "rigid", "mirror"]
    """``group``: the panels of a group share one value. ``all``: all panels do. ``rigid``: the
    panels of a group keep their differences and move as one. ``mirror``: panel i below is the
    mirror image of panel i above in the middle plane of the passive volume."""


def _rule_tag(value: object) -> str:
    return "<tie>" if isinstance(value, (Mapping, Tie)) else "<word>"


Rule = Annotated[
    Annotated[Literal["free", "frozen"], Tag("<word>")] | Annotated[Tie, Tag("<tie>")],
    Discriminator(_rule_tag),
]
"""``free``, ``frozen``, or ``{tie: group | all | rigid | mirror}``."""


class GroupRules(Config):
    """Rules of one group where they differ from the others."""

    xy: Rule | None = None
    """Centres; null: as for the other groups."""
    z: Rule | None = None
    """Heights; null: as for the other groups."""
    side: Rule | None = None
    """Sides, or shares of the budget; null: as for the other groups."""


class ParameterRules(Config):
    """Which parameters learn, and together with which."""

    xy: Rule = Tie(tie="group")
    """Centres of the panels."""
    z: Rule = "free"
    """Heights of the panels."""
    side: Rule = "free"
    """Sides of the panels, or their shares of the budget."""
    mu: Literal["free", "frozen"] = "free"
    """Centres of the Gaussians of heat maps."""
    sig: Literal["free", "frozen"] = "free"
    """Widths of the Gaussians of heat maps."""
    norm: Literal["free", "frozen"] = "free"
    """Heights of the Gaussians of heat maps."""
    groups: dict[str, GroupRules] = Field(default_factory=dict)
    """Exceptions: group name -> rules."""

    def rule(self, parameter: Parameter, group: str) -> Literal["free", "frozen"] | Tie:
        """The rule of one parameter in one group."""
        special = getattr(self.groups.get(group), parameter, None)
        found: Literal["free", "frozen"] | Tie = special or getattr(self, parameter)
        return found


class FindRates(Config):
    """Epochs without steps that set each learning rate to (wanted step / median gradient)."""

    epochs: Count = 5
    """Epochs of the search; >= 1; they come before the epochs of the phase."""
    xy: PositiveLength = 0.01
    """Wanted step of the centres per update [m]; > 0."""
    z: PositiveLength = 0.01
    """Wanted step of the heights per update [m]; > 0."""
    side: PositiveLength = 0.01
    """Wanted step of the sides per update [m]; > 0; read without a budget."""
    budget: PositiveNumber = 0.1
    """Wanted step of the budget weights per update; > 0; read with a budget."""


class Smoothness(Config):
    """Softness of the panels' edges, falling by a constant factor per epoch."""

    start: PositiveNumber = 1.0
    """Softness in the first epoch, in half-widths; > 0."""
    stop: PositiveNumber = 0.1
    """Softness in the last epoch and after it, in half-widths; > 0."""
    length: Count | None = None
    """Epochs from start to stop; >= 1; null: those of the phase."""


def _as_ramp(value: Any) -> Any:
    """``0.1`` and ``[1.0, 0.1]`` are short for a ramp."""
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return {"start": value[0], "stop": value[1]}
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"start": value, "stop": value}
    if value is None or isinstance(value, (Mapping, Smoothness)):
        return value
    text = "is neither a number nor [start, stop] nor a mapping; write for example [1.0, 0.1]"
    raise PydanticCustomError("smoothness", text)


_RampInput = PositiveNumber | tuple[PositiveNumber, PositiveNumber] | Smoothness


class Limits(Config):
    """Largest change of a parameter in one update."""

    xy: PositiveLength | None = None
    """Centres [m]; > 0; null: no limit."""
    z: PositiveLength | None = None
    """Heights [m]; > 0; null: no limit."""
    side: PositiveLength | None = None
    """Sides [m]; > 0; null: no limit; read without a budget."""


_OPTIMISERS = ("xy.above", "xy.below", "z.above", "z.below", "side")


class _Common(Config):
    """What a fit says once and each phase may say otherwise."""

    volumes_per_step: Count = 40
    """Volumes that one update looks at; >= 1."""
    mirror: Flag = False
    """See the training muons in mirror image, too: volumes and epochs take the four images (as they
    are, x, y and both turned) in turn, so that a symmetric scene does not pull panels off centre by
    the chance of its muons. Needs volumes that are their own mirror images."""
    parameters: ParameterRules = ParameterRules()
    """What learns."""
    optimiser: dict[str, OptimiserSettings] = Field(
        default={name: SGDSettings() for name in _OPTIMISERS}, min_length=1
    )
    """Optimisers by parameter: ``xy``, ``z``, ``side``, or of one group, e.g. ``xy.above``."""
    find_rates: FindRates | None = None
    """Search for learning rates before the phase; null: each optimiser states its rate, or goes on
    with the one of the phase before."""
    smoothness: (
        Annotated[Smoothness, BeforeValidator(_as_ramp, json_schema_input_type=_RampInput)] | None
    ) = None
    """A number, ``[start, stop]``, or start, stop and length, in half-widths; > 0; null: as the
    panels say."""
    schedule: ScheduleSettings | None = None
    """Learning rates along the phase; null: constant."""
    limits: Limits = Limits()
    """Largest change per update."""
    watch: Literal["train", "valid"] = "train"
    """Whose loss, or metric, early stopping and the best keeper judge by: of the training volumes,
    or of the validation volumes, which every epoch then ends with a look at."""
    guards: Guards = Guards()
    """What ends a phase early or keeps bad updates away."""
    callbacks: tuple[CallbackSettings, ...] = ()
    """Further callbacks; those of the package run in the order that they need, whatever the order
    here, those of your own in the order of the list."""


class Phase(_Common):
    """A stretch of a fit with settings of its own."""

    name: str = Field(default="fit", min_length=1)
    """Unique in a study."""
    epochs: Natural = 10
    """Epochs with updates; >= 0; the search of rates comes on top."""
    freeze: tuple[str, ...] = ()
    """Parameters that stay in this phase: ``xy``, ``z``, ``side`` or, e.g., ``xy.above``."""

    @property
    def total_epochs(self) -> int:
        """All epochs, those of the search of rates and of warm-ups included."""
        warmups = [
            each.epochs for each in self.callbacks if isinstance(each, CostCoefWarmupSettings)
        ]
        return self.epochs + (self.find_rates.epochs if self.find_rates else 0) + sum(warmups)

    def rule(self, parameter: Parameter, group: str) -> Literal["free", "frozen"] | Tie:
        """The rule of one parameter in one group, ``freeze`` included."""
        if parameter in self.freeze or f"{parameter}.{group}" in self.freeze:
            return "frozen"
        return self.parameters.rule(parameter, group)


class FitSettings(_Common):
    """One fit: a start, then phases. Phases are complete: they have taken up what the fit says."""

    start: str = "start"
    """Name of the detector that the fit starts from."""
    warm_start: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Key of a checkpoint of another fit (``tomopt inspect RUN:STAGE`` prints it), 64 hexadecimal
    digits: its parameters are those that the fit starts with; all else is as ``start`` says, which
    has the same panels; null: as ``start`` says."""
    seed: Seed = 1
    """Names the random streams of the fit; default: the seed of the study."""
    multi_start: MultiStart | None = None
    """Random detectors to start from besides ``start``, and when to give the worse ones up; null:
    one fit from ``start``."""
    phases: tuple[Phase, ...] = ()
    """Phases in order; empty: no fit."""

    @field_validator("phases")
    @classmethod
    def _complete(
        cls,
        phases: tuple[Phase, ...],
        info: Any,
    ) -> tuple[Phase, ...]:
        names = [phase.name for phase in phases]
        for index, name in enumerate(names):
            if name in names[:index]:
                text = 'got "{name}" a second time, but phases need names of their own; rename one'
                path = (index, "name")
                raise PydanticCustomError("phase_name", text, {"path": path, "name": name})
        common = {name: info.data[name] for name in _Common.model_fields if name in info.data}
        return tuple(complete_phase(phase, common) for phase in phases)


def complete_phase(phase: Phase, common: Mapping[str, Any]) -> Phase:
    """The phase with everything that it leaves open taken from the fit; lengths filled in.

    Args:
        phase: as written.
        common: the fit's own values, field by field.
    """
    merged = {
        name: _overlay(value, getattr(phase, name)) if name in phase.model_fields_set else value
        for name, value in common.items()
    }
    phase = phase.model_copy(update=merged)
    length = max(phase.epochs, 1)
    update: dict[str, Any] = {}
    if phase.smoothness is not None and phase.smoothness.length is None:
        constant = phase.smoothness.start == phase.smoothness.stop  # then no length matters
        ramp = phase.smoothness.model_copy(update={"length": 1 if constant else length})
        update["smoothness"] = ramp
    if phase.schedule is not None:
        update["schedule"] = completed(phase.schedule, length)
    return phase.model_copy(update=update)


def _overlay(base: Any, over: Any) -> Any:
    """``over`` laid on ``base``: settings of one type and mappings merge, all else replaces."""
    if isinstance(base, Config) and type(base) is type(over):
        fields = over.model_fields_set
        update = {name: _overlay(getattr(base, name), getattr(over, name)) for name in fields}
        return base.model_copy(update=update)
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = {name: _overlay(base[name], over[name]) for name in over if name in base}
        return {**base, **over, **merged}
    return over
