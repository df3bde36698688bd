"""What a search may change, how it proposes what to try, and when it gives a trial up."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from tomopt_tasks.config.axes import PointsAxis, ValuesAxis
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Flag, Fraction, Natural, Seed, in_si

Changes = dict[str, Any]
"""Place in the study -> value."""

Places = str | tuple[str, ...]


def _listed(places: Places) -> tuple[str, ...]:
    return (places,) if isinstance(places, str) else places


class RangeSetting(Config):
    """A setting that may be any number between two."""

    setting: Places = ""
    """Place in the study, or several that take the same value; empty: as the entry is named."""
    range: tuple[Any, Any]
    """Lowest and highest value, both included; numbers, or with a unit."""
    log: Flag = False
    """Whether ratios matter rather than differences; needs numbers > 0."""

    @property
    def places(self) -> tuple[str, ...]:
        """The settings that it changes."""
        return _listed(self.setting)

    @property
    def bounds(self) -> tuple[float, float]:
        """Lowest and highest value in SI."""
        return in_si(self.range[0]), in_si(self.range[1])

    @property
    def probes(self) -> tuple[float, ...]:
        """Values that are tried before anything runs."""
        return self.bounds

    def changes(self, value: float) -> Changes:
        """What a value changes in the study."""
        return dict.fromkeys(self.places, value)

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            low, high = self.bounds
        except ValueError as error:
            text = f"is not a pair of numbers or quantities ({error}); write [2 m2, 8 m2]"
            raise Problem(("range",), text) from error
        if not low < high:
            raise Problem(("range",), "lowest and highest must be ascending; swap them")
        if self.log and low <= 0:
            raise Problem(("log",), f"needs numbers > 0, but the range starts at {low:g}; drop it")
        return self


class IntegerSetting(Config):
    """A setting that may be any whole number between two."""

    setting: Places = ""
    """Place in the study, or several that take the same value; empty: as the entry is named."""
    integer: tuple[Natural, Natural]
    """Lowest and highest value, both included."""
    step: Count = 1
    """Distance of the values."""

    @property
    def places(self) -> tuple[str, ...]:
        """The settings that it changes."""
        return _listed(self.setting)

    @property
    def bounds(self) -> tuple[int, int]:
        """Lowest and highest value."""
        return self.integer

    @property
    def probes(self) -> tuple[int, ...]:
        """Values that are tried before anything runs."""
        return self.integer

    def changes(self, value: int) -> Changes:
        """What a value changes in the study."""
        return dict.fromkeys(self.places, value)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_steps(self.integer, self.step, "integer")
        return self


class PanelsSetting(Config):
    """The number of panels of groups.

    They stand evenly between the first and the last that the study, with all other changes of the
    trial, has there.
    """

    panels: tuple[str, ...] = Field(min_length=1)
    """Groups of the detector that the fit starts from; all get the same number."""
    count: tuple[Count, Count]
    """Least and largest number, both included."""
    step: Count = 1
    """Distance of the numbers."""

    @property
    def places(self) -> tuple[str, ...]:
        """None of its own: heights that others have changed already count as the first and last."""
        return ()

    @property
    def bounds(self) -> tuple[int, int]:
        """Least and largest number."""
        return self.count

    @property
    def probes(self) -> tuple[int, ...]:
        """Numbers that are tried before anything runs."""
        return self.count

    def heights(self, value: int, study: Study) -> Changes:
        """Heights of that many panels, for each group.

        Raises:
            ValueError: the start has no such group.
        """
        start = study.fit.start
        groups = {layer.panels[0].group: layer for layer in study.detectors[start].layers}
        found: Changes = {}
        for name in self.panels:
            if name not in groups:
                raise ValueError(f"{start} has no group {name}; it has {', '.join(groups)}")
            heights = [panel.z for panel in groups[name].panels]
            found[f"detectors.{start}.groups.{name}.z"] = _even(heights[0], heights[-1], value)
        return found

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_steps(self.count, self.step, "count")
        return self


def _check_steps(bounds: tuple[int, int], step: int, name: str) -> None:
    low, high = bounds
    if not low < high:
        raise Problem((name,), "lowest and highest must be ascending; swap them")
    if (high - low) % step:
        raise Problem(("step",), f"{step} does not lead from {low} to {high}; change one of them")


def _even(first: float, last: float, count: int) -> list[float]:
    steps = max(count - 1, 1)
    return [round(first + (last - first) * i / steps, 9) for i in range(count)]


def _form(value: object) -> str:
    keys: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    if isinstance(value, Config):
        keys = type(value).model_fields
    known = ("points", "panels", "integer", "range")
    return next((f"<{key}>" for key in known if key in keys), "<values>")


Setting = Annotated[
    Annotated[ValuesAxis, Tag("<values>")]
    | Annotated[PointsAxis, Tag("<points>")]
    | Annotated[RangeSetting, Tag("<range>")]
    | Annotated[IntegerSetting, Tag("<integer>")]
    | Annotated[PanelsSetting, Tag("<panels>")],
    Discriminator(_form),
]
"""What a trial chooses: a number between two, or one of several points."""


class Prune(Config):
    """Give a trial up between two epochs if its training loss is among the larger ones.

    Its least loss so far is compared with the losses that the complete trials before it had after
    as many epochs.
    """

    keep: Fraction = 0.5
    """Share of the trials before it that it must be among to go on."""
    after_trials: Count = 5
    """Trials that run to their end before any is given up."""
    after_epochs: Natural = 0
    """Epochs that every trial runs at least, searches of rates included."""
    every: Count = 1
    """Epochs between two decisions."""


class Search(Config):
    """Trials proposed one after the other, each a study with a gradient fit inside."""

    trials: Count
    """How many; more can be asked for later, and those there are stay."""
    seed: Seed = 1
    """Names the random numbers of the proposals."""
    together: Count = 2
    """Trials that are proposed at once and run side by side. Part of what the proposals depend on,
    the number of workers is not: so any machine makes the same search."""
    sampler: Literal["tpe", "random"] = "tpe"
    """How settings are proposed: tree-structured Parzen estimator, or at random."""
    startup: Count = 10
    """Trials proposed at random before the estimator begins."""
    space: dict[str, Setting] = Field(min_length=1)
    """What trials choose."""
    objectives: tuple[Literal["error", "cost"], ...] = Field(
        default=("error",), min_length=1, max_length=2
    )
    """What is minimised: the error (MSE) on the validation bank; with ``cost``, also the cost of
    all panels. The test bank has no say."""
    prune: Prune | None = None
    """When trials are given up; null: never."""
    finalists: Count = 1
    """Trials that are judged on the test bank: the best ones, or with two objectives those spread
    over the front."""
    restarts: Flag = True
    """Whether the gradient alone gets as many training muons as all trials together: as fits from
    random detectors, the best on the validation bank; false: it gets one fit."""

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:  # noqa: ANN401
        if not isinstance(data, Mapping) or not isinstance(data.get("space"), Mapping):
            return data
        return {**data, "space": {n: _spelled(n, each) for n, each in data["space"].items()}}

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.objectives not in {("error",), ("error", "cost")}:
            got = ", ".join(self.objectives)
            raise Problem(("objectives",), f"got [{got}]; write [error] or [error, cost]")
        if self.prune is not None and len(self.objectives) > 1:
            text = "a cheap trial would be given up for its loss; leave it out with two objectives"
            raise Problem(("prune",), text)
        return self


def _spelled(name: str, entry: Any) -> Any:  # noqa: ANN401
    """A plain list as values, and a setting that is named by its entry."""
    if isinstance(entry, list):
        return {"setting": name, "values": entry}
    named = isinstance(entry, Mapping) and ("range" in entry or "integer" in entry)
    return {"setting": name, **entry} if named else entry
