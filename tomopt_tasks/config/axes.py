"""Axes of points: one setting that takes several values, or several changes with a name."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Self

from pydantic import Field, model_validator

from tomopt_tasks.config.problems import Problem
from tomopt_tasks.core import Config


class ValuesAxis(Config):
    """One setting, or several that take the same value."""

    setting: str | tuple[str, ...]
    """Place in the study, e.g. ``constraints.area`` or ``fit.phases[1].epochs``; or several."""
    values: tuple[Any, ...] = Field(min_length=1)
    """One value a point."""
    names: tuple[str, ...] | None = None
    """What the points are called; null: as the values."""

    @property
    def points(self) -> dict[str, dict[str, Any]]:
        """Name of each point -> its changes."""
        names = self.names or [point_name(value, i) for i, value in enumerate(self.values)]
        pairs = zip(names, self.values, strict=True)
        return {name: dict.fromkeys(self.places, value) for name, value in pairs}

    @property
    def places(self) -> tuple[str, ...]:
        """The settings that it changes."""
        return (self.setting,) if isinstance(self.setting, str) else self.setting

    @property
    def probes(self) -> tuple[str, ...]:
        """Points that a search tries before anything runs: all."""
        return tuple(self.points)

    def changes(self, value: str) -> dict[str, Any]:
        """What a point changes in the study."""
        return self.points[value]

    @model_validator(mode="after")
    def _check(self) -> Self:
        n_values = len(self.values)
        if self.names is not None and len(self.names) != n_values:
            raise Problem(("names",), f"got {len(self.names)} names for {n_values} values; match")
        names = list(self.names or [point_name(value, i) for i, value in enumerate(self.values)])
        for i, name in enumerate(names):
            if name in names[:i]:
                place = ("values", i) if self.names is None else ("names", i)
                raise Problem(place, f"got {name} a second time, but points differ; remove one")
        return self


class PointsAxis(Config):
    """Points with several changes each."""

    points: dict[str, dict[str, Any]] = Field(min_length=1)
    """Name -> {place in the study: value}; ``base: FILE`` starts from another study."""

    @property
    def places(self) -> tuple[str, ...]:
        """The settings that it changes."""
        return tuple({place: None for point in self.points.values() for place in point})

    @property
    def probes(self) -> tuple[str, ...]:
        """Points that a search tries before anything runs: all."""
        return tuple(self.points)

    def changes(self, value: str) -> dict[str, Any]:
        """What a point changes in the study."""
        return self.points[value]


def point_name(value: Any, index: int) -> str:  # noqa: ANN401
    """What a value is called: itself, its kind or its file, else its number."""
    if isinstance(value, Mapping):
        if "file" in value:
            return PurePath(str(value["file"])).stem
        return str(value.get("kind", index + 1))
    if isinstance(value, (list, tuple)):
        return str(index + 1)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return str(value)
