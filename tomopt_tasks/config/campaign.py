"""A campaign: one study varied along axes, and how its members are compared."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from tomopt_tasks.config.axes import PointsAxis, ValuesAxis, point_name
from tomopt_tasks.config.document import nearest
from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.config.search import Search
from tomopt_tasks.config.version import VERSION
from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Natural, PositiveLength, PositiveNumber, Seed, Time

BASE = "base"
"""Word of a point that names another study instead of a setting."""

DESIGN = "design"
"""Axis of what a search has found, beside the gradient alone."""

Pattern = dict[str, Any]
"""Axis -> the name of one of its points, or a list of names."""


def _one_or_each(value: object) -> str:
    return "<each>" if isinstance(value, (list, tuple)) else "<one>"


class SeedsAxis(Config):
    """Repetitions of a fit with other random numbers, on the same test and validation banks."""

    seeds: Annotated[
        Annotated[Count, Tag("<one>")] | Annotated[tuple[Seed, ...], Tag("<each>")],
        Discriminator(_one_or_each),
    ]
    """How many, counted from 1; or a list."""
    settings: tuple[str, ...] = ("fit.seed", "muons.train_seed")
    """Seeds that the axis sets. By default the noise of the hits and the muons of the training:
    with ``fit.seed`` alone the fits of all seeds would be nearly the same."""

    @property
    def points(self) -> dict[str, dict[str, Any]]:
        """Name of each point -> its changes."""
        seeds = range(1, self.seeds + 1) if isinstance(self.seeds, int) else self.seeds
        return {str(seed): dict.fromkeys(self.settings, seed) for seed in seeds}


class StartsAxis(Config):
    """Random detectors to start from: one random centre a group, random heights and shares."""

    starts: Count
    """How many."""
    seed: Seed = 1
    """Names the random numbers."""

    @property
    def points(self) -> dict[str, dict[str, Any]]:
        """Name of each point -> no changes yet: the detectors depend on the rest of the study."""
        return {str(number): {} for number in range(1, self.starts + 1)}


def _form(value: object) -> str:
    """Tag of an axis, as it is written or as settings."""
    keys: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    if isinstance(value, Config):
        keys = type(value).model_fields
    return next((f"<{key}>" for key in ("points", "seeds", "starts") if key in keys), "<values>")


Axis = Annotated[
    Annotated[ValuesAxis, Tag("<values>")]
    | Annotated[PointsAxis, Tag("<points>")]
    | Annotated[SeedsAxis, Tag("<seeds>")]
    | Annotated[StartsAxis, Tag("<starts>")],
    Discriminator(_form),
]
"""What varies; a plain list varies the setting that the axis is named by."""


class Goal(Config):
    """What the best fit of a comparison should reach; the report says whether it does."""

    ratio: PositiveNumber | None = None
    """Largest ratio of its error to the best baseline's; null: none."""
    suspect: PositiveNumber | None = None
    """Ratio below which a mistake is more likely than such a gain; null: none."""
    wins: Natural = 0
    """Seeds that should win by themselves."""
    off_centre: PositiveLength | None = None
    """Largest distance of any module of any seed from the middle [m]; null: none."""
    fit: Time | None = None
    """Longest mean time of a fit [s]; null: none."""


class Judge(Config):
    """Which members are compared, and over which the results are pooled."""

    pool: tuple[str, ...] | None = None
    """Axes whose points repeat the same thing: results are averaged over them, and intervals hold
    for other seeds too; null: all axes of seeds and of random starts."""
    apart: tuple[str, ...] = ()
    """Axes whose points are never compared with each other: each has a table of its own. Needed
    where the points see other muons, other test objects or another acceptance."""
    goals: dict[str, Goal] = Field(default_factory=dict)
    """Goal of each comparison, by the names of its points on the axes of ``apart``."""


class Campaign(Config):
    """A study, what varies in it, and how the members are judged."""

    version: Literal[1] = VERSION
    """Version of the file format."""
    campaign: Annotated[str, Field(pattern=r"^[\w.-]+$", max_length=60)]
    """Name of the campaign; letters, digits, ``_``, ``-`` and ``.``"""
    title: str = ""
    """Title of the report; empty: the name."""
    base: str
    """Study that all members start from, relative to this file."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Changes of all members: place in the study -> value."""
    axes: dict[str, Axis] = Field(default_factory=dict)
    """What varies; members are all combinations of the points of all axes. With a search: what
    its finalists are repeated over; trials are fitted at the first point of every axis."""
    search: Search | None = None
    """Designs that are looked for, instead of listed; null: none."""
    zip: tuple[tuple[str, ...], ...] = ()
    """Axes that go together, point by point, instead of in all combinations."""
    only: tuple[Pattern, ...] = ()
    """Members to keep, each as {axis: point or list of points}; empty: all."""
    exclude: tuple[Pattern, ...] = ()
    """Members to leave out, written alike."""
    judge: Judge = Judge()
    """How members are compared."""

    @field_validator("axes", mode="before")
    @classmethod
    def _spell_out(cls, axes: Any) -> Any:  # noqa: ANN401
        if not isinstance(axes, Mapping):
            return axes
        return {
            name: {"setting": name, "values": axis} if isinstance(axis, list) else axis
            for name, axis in axes.items()
        }

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.axes and self.search is None:
            raise Problem(("axes",), "nothing varies; write an axis, or a search")
        self._check_search()
        self._check_settings()
        zipped: list[str] = []
        for i, names in enumerate(self.zip):
            self._check_axes(names, ("zip", i))
            lengths = {name: len(self.axes[name].points) for name in names}
            if len(set(lengths.values())) > 1:
                shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
                raise Problem(
                    ("zip", i), f"axes that go together need equally many points: {shown}"
                )
            zipped += names
        for name in zipped:
            if zipped.count(name) > 1:
                raise Problem(("zip",), f"axis {name} is named twice; name it once")
        for where in ("only", "exclude"):
            for i, pattern in enumerate(getattr(self, where)):
                self._check_pattern(pattern, (where, i))
        self._check_judge()
        self._check_goals()
        return self

    @property
    def pooled(self) -> tuple[str, ...]:
        """Axes that results are averaged over."""
        if self.judge.pool is not None:
            return self.judge.pool
        repeats = (name for name, axis in self.axes.items() if isinstance(axis, _REPEATS))
        return tuple(name for name in repeats if name not in self.judge.apart)

    def _check_search(self) -> None:
        """Axes that repeat what a search has found."""
        for name, axis in self.axes.items() if self.search else ():
            if isinstance(axis, StartsAxis):
                text = "a search has random starts of its own; repeat it over seeds instead"
                raise Problem(("axes", name), text)
            if name == DESIGN:
                raise Problem(("axes", name), "is what the search varies; take another name")

    def _check_settings(self) -> None:
        """No two axes, or entries of the search, change the same setting."""
        owner: dict[str, str] = {}
        for path, places in self._places():
            for place in places:
                known = "axis" if path[0] == "axes" else "entry"
                name = f"{known} {path[-1]}"
                if owner.setdefault(place, name) != name:
                    raise Problem(
                        path,
                        f"changes {place}, which {owner[place]} changes too; put both into one "
                        f"{known} of points",
                    )

    def _places(self) -> Iterator[tuple[tuple[str, ...], Iterable[str]]]:
        """Every axis and entry of the search: where it is written, and the settings it changes."""
        for name, axis in self.axes.items():
            yield ("axes", name), {place for point in axis.points.values() for place in point}
        for name, entry in self.search.space.items() if self.search else ():
            yield ("search", "space", name), entry.places

    def _check_judge(self) -> None:
        self._check_axes(self.judge.apart, ("judge", "apart"))
        self._check_axes(self.judge.pool or (), ("judge", "pool"))
        for i, name in enumerate(self.judge.apart):
            if name in (self.judge.pool or ()):
                raise Problem(
                    ("judge", "apart", i), f"axis {name} is pooled too; name it in one of the two"
                )

    def _check_goals(self) -> None:
        """Each goal is that of a comparison."""
        names = (self.axes[axis].points for axis in self.judge.apart)
        labels = {", ".join(point): None for point in product(*names)}
        for label in self.judge.goals:
            if label not in labels:
                cure = _cure(label, labels) if self.judge.apart else 'write "" for the only one'
                raise Problem(("judge", "goals", label), f"there is no such comparison; {cure}")

    def _check_axes(self, names: Sequence[str], path: Path) -> None:
        for i, name in enumerate(names):
            if name not in self.axes:
                raise Problem((*path, i), f"there is no axis {name}; {_cure(name, self.axes)}")

    def _check_pattern(self, pattern: Pattern, path: Path) -> None:
        for name, wanted in pattern.items():
            if name not in self.axes:
                raise Problem((*path, name), f"there is no such axis; {_cure(name, self.axes)}")
            points = self.axes[name].points
            for point in point_names(wanted):
                if point not in points:
                    cure = _cure(point, points)
                    raise Problem((*path, name), f"axis {name} has no point {point}; {cure}")


_REPEATS = (SeedsAxis, StartsAxis)


def point_names(wanted: Any) -> tuple[str, ...]:  # noqa: ANN401
    """The names in an entry of a pattern: one, or a list."""
    several = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    return tuple(point_name(each, 0) for each in several)


def _cure(name: str, known: Mapping[str, Any]) -> str:
    close = nearest(name, list(known))
    return f'did you mean "{close}"?' if close else f"there are {', '.join(list(known)[:12])}"
