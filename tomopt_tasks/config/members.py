"""From a campaign file to its members: every study is validated before anything runs."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from tomopt_tasks.config.axes import PointsAxis, ValuesAxis
from tomopt_tasks.config.campaign import (
    BASE,
    DESIGN,
    Axis,
    Campaign,
    StartsAxis,
    point_names,
)
from tomopt_tasks.config.compose import Override, change_document
from tomopt_tasks.config.document import Document, Mark, read_document, read_text
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.messages import sentence
from tomopt_tasks.config.paths import Path, parse_path, show_path
from tomopt_tasks.config.schema import Schema, schema_at
from tomopt_tasks.config.starts import random_start
from tomopt_tasks.config.study import Study
from tomopt_tasks.config.version import bring_up_to_date
from tomopt_tasks.core import UserError

Point = dict[str, str]
"""Axis -> name of one of its points."""


@dataclass(frozen=True)
class Member:
    """One study of a campaign."""

    name: str
    """Where it stands on the axes: ``policy=all_panels,seed=3``."""
    point: Mapping[str, str]
    """Axis -> name of its point."""
    study: Study
    file: str
    """The study file that it starts from."""
    changes: Mapping[str, str]
    """Place in that file -> YAML text."""


@dataclass(frozen=True)
class LoadedCampaign:
    """A campaign whose members are all valid."""

    file: str
    settings: Campaign
    members: tuple[Member, ...]
    """All combinations of the axes; of a search: the base of its trials."""
    document: Document
    """The file as it is written, for messages."""
    overrides: tuple[tuple[str, str], ...] = ()
    """(place in the file, YAML text) of what was changed in it."""

    @property
    def title(self) -> str:
        """What the report is called."""
        return self.settings.title or self.settings.campaign


def load_campaign(
    path: FilePath | str, overrides: Sequence[tuple[str, str]] = ()
) -> LoadedCampaign:
    """The campaign that a file describes, with the study of every member.

    Args:
        path: a YAML file.
        overrides: (place in the file, YAML text) such as ``("axes.seed.seeds", "2")``.

    Raises:
        UserError: one sentence with the place in the file.
    """
    document = bring_up_to_date(read_document(FilePath(path)), required=True)
    for place, text in overrides:
        change_document(document, place, text)
    try:
        settings = Campaign.model_validate(document.data)
    except ValidationError as error:
        raise sentence(error, document, schema_of=_schema) from error
    members = tuple(_Builder(settings, document).members())
    return LoadedCampaign(str(path), settings, members, document, tuple(overrides))


def with_axes(campaign: LoadedCampaign, axes: Mapping[str, Axis]) -> LoadedCampaign:
    """The campaign with more axes in front, and without a search.

    Args:
        campaign: the campaign.
        axes: what varies besides, and changes what its own axes do not.
    """
    settings = campaign.settings
    settings = settings.model_copy(update={"axes": {**axes, **settings.axes}, "search": None})
    members = tuple(_Builder(settings, campaign.document).members())
    return replace(campaign, settings=settings, members=members)


def one_member(
    campaign: LoadedCampaign, name: str, changes: Mapping[str, Any], place: Path
) -> Member:
    """The first member of a campaign, changed.

    Args:
        campaign: the campaign.
        name: what to call it.
        changes: place in the study -> value.
        place: where the campaign says so, for messages.

    Raises:
        UserError: it is no valid study.
    """
    settings = campaign.settings
    axes = {DESIGN: PointsAxis(points={name: dict(changes)}), **settings.axes}
    settings = settings.model_copy(update={"axes": axes, "search": None})
    first = next(_Builder(settings, campaign.document, place).members())
    return replace(first, name=name)


def _schema(path: Path, data: Any) -> Schema:  # noqa: ANN401
    return schema_at(path, data, Campaign.model_json_schema())


@dataclass(frozen=True)
class _Change:
    """A change of a study, and where the campaign says it."""

    place: str
    text: str
    path: Path
    mark: Mark

    @property
    def override(self) -> Override:
        return self.place, self.text, self.mark


class _Builder:
    def __init__(self, settings: Campaign, document: Document, place: Path = ()) -> None:
        self.settings = settings
        self.document = document
        self.place = place
        self._loaded: dict[tuple[str, ...], Study] = {}
        common = (
            self._change(place, value, ("set", place)) for place, value in settings.set.items()
        )
        self.common = list(common)

    def members(self) -> Iterator[Member]:
        """Each combination with its study, in the order of the axes."""
        points = [point for point in self._combinations() if self._kept(point)]
        if not points:
            raise UserError(
                f"exclude: no member is left; leave out fewer ({self.document.mark(('exclude',))})"
            )
        yield from map(self._member, points)

    def _combinations(self) -> Iterator[Point]:
        """All combinations of the axes; axes that go together count as one."""
        together = {name: group for group in self.settings.zip for name in group}
        groups = dict.fromkeys(together.get(name, (name,)) for name in self.settings.axes)
        choices = [list(zip(*(self._points(name) for name in g), strict=True)) for g in groups]
        for chosen in product(*choices):
            pairs = [zip(g, names, strict=True) for g, names in zip(groups, chosen, strict=True)]
            point = dict(pair for group in pairs for pair in group)
            yield {name: point[name] for name in self.settings.axes}

    def _points(self, axis: str) -> list[str]:
        return list(self.settings.axes[axis].points)

    def _kept(self, point: Point) -> bool:
        def fits(pattern: Mapping[str, Any]) -> bool:
            return all(point[axis] in point_names(wanted) for axis, wanted in pattern.items())

        only, exclude = self.settings.only, self.settings.exclude
        return (not only or any(map(fits, only))) and not any(map(fits, exclude))

    def _member(self, point: Point) -> Member:
        name = ",".join(f"{axis}={label}" for axis, label in point.items())
        file, changes = self._base(), list(self.common)
        for axis, label in point.items():
            for place, value in self.settings.axes[axis].points[label].items():
                path = self._written(axis, label, place)
                if place == BASE:
                    file = self._file(value, path)
                else:
                    changes.append(self._change(place, value, path))
        changes += list(self._starts(file, changes, point, name))
        changes += self._names(point, name)
        study = self._load(file, changes, name)
        return Member(name, point, study, file, {c.place: c.text for c in changes})

    def _starts(
        self, file: str, changes: list[_Change], point: Point, member: str
    ) -> Iterator[_Change]:
        """The random detector of a member, made from the study that it would else be."""
        for name, axis in self.settings.axes.items():
            if isinstance(axis, StartsAxis):
                study = self._load(file, changes, member)
                start, gap = study.fit.start, study.constraints.gap
                detector = random_start(
                    study.detectors[start], study.world, gap, axis.seed, int(point[name])
                )
                value = detector.model_dump(mode="json")
                yield self._change(f"detectors.{start}", value, ("axes", name))
                if study.fit.multi_start is not None:  # else all would share the other starts
                    seed = int(point[name])
                    yield self._change("fit.multi_start.seed", seed, ("axes", name))

    def _names(self, point: Point, member: str) -> Iterator[_Change]:
        slug = re.sub(r"[^\w.-]+", "-", "-".join(point.values()))
        yield self._change("study", f"{self.settings.campaign}.{slug}"[:100], ("campaign",))
        title = self.settings.title or self.settings.campaign
        yield self._change("report.title", f"{title}: {member}", ("title",))

    def _load(self, file: str, changes: Sequence[_Change], member: str) -> Study:
        known = (file, *(text for change in changes for text in (change.place, change.text)))
        if known not in self._loaded:
            try:
                self._loaded[known] = load_study(file, [change.override for change in changes])
            except UserError as error:
                raise _placed(error, changes, member) from error
        return self._loaded[known]

    def _base(self) -> str:
        return self._file(self.settings.base, (BASE,))

    def _file(self, name: Any, path: Path) -> str:  # noqa: ANN401
        """A study file, named relative to the campaign."""
        mark = self.document.mark(path)
        if not isinstance(name, str) or not name:
            raise UserError(f"{show_path(path)}: the name of a study file is needed ({mark})")
        file = os.path.normpath(FilePath(self.document.label).parent / name)
        try:
            read_text(FilePath(file))
        except UserError as error:
            raise UserError(f"{show_path(path)}: {error} ({mark})") from error
        return file

    def _change(self, place: str, value: Any, path: Path) -> _Change:  # noqa: ANN401
        mark = self.document.mark(path)
        try:
            parse_path(place)
        except UserError as error:
            text = "not a place in a study file; write for example fit.phases[1].epochs"
            raise UserError(f"{show_path(path)}: {text} ({mark})") from error
        return _Change(place, json.dumps(value, ensure_ascii=False), path, mark)

    def _written(self, axis: str, label: str, place: str) -> Path:
        """Where a change stands in the file."""
        written = self.document.data.get("axes", {}).get(axis)
        if written is None:
            return self.place
        settings = self.settings.axes[axis]
        here: Path = ("axes", axis)
        if isinstance(settings, PointsAxis):
            return (*here, "points", label, place)
        if isinstance(settings, ValuesAxis):
            index = self._points(axis).index(label)
            return (*here, index) if isinstance(written, list) else (*here, "values", index)
        return here


def _placed(error: UserError, changes: Sequence[_Change], member: str) -> UserError:
    """The message about a study, with the place in the campaign that it comes from."""
    text = str(error)
    near = [
        change
        for change in reversed(changes)
        if any(f"({change.mark}{end}" in text for end in (")", ";"))
    ]
    for change in [*(each for each in near if text.startswith(each.place)), *near]:
        return UserError(f"{show_path(change.path)}: {text}")
    return UserError(f"member {member}: {text}")
