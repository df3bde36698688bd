"""From proposed values to the study of a trial; the whole space is probed before anything runs."""

import json
from collections.abc import Mapping
from typing import Any

from tomopt_tasks.config.campaign import StartsAxis
from tomopt_tasks.config.members import LoadedCampaign, Member, one_member, with_axes
from tomopt_tasks.config.paths import Path, show_path
from tomopt_tasks.config.search import PanelsSetting, Search
from tomopt_tasks.core import UserError

SPACE: Path = ("search", "space")

Values = Mapping[str, Any]
"""Entry of the space -> the value, or the name of the point, that was chosen."""

NAMES = ("study", "report.title")
"""Changes of a member that only name it."""


def search_of(campaign: LoadedCampaign) -> Search:
    """The settings of a search.

    Raises:
        UserError: the campaign lists its members.
    """
    if campaign.settings.search is None:
        raise UserError(f"{campaign.file}: holds no search; write one, or use its axes")
    return campaign.settings.search


def trial_changes(campaign: LoadedCampaign, name: str, values: Values) -> dict[str, Any]:
    """Place in the study -> value, of one trial.

    Args:
        campaign: with a search.
        name: of the trial, for messages.
        values: of every entry of the space.

    Raises:
        UserError: without its number of panels, it is no valid study.
    """
    found: dict[str, Any] = {}
    space = search_of(campaign).space
    last = {each: entry for each, entry in space.items() if isinstance(entry, PanelsSetting)}
    for each, entry in space.items():
        if not isinstance(entry, PanelsSetting):
            found |= entry.changes(values[each])
    if last:
        study = one_member(campaign, name, found, SPACE).study
        for each, entry in last.items():
            try:
                found |= entry.heights(values[each], study)
            except ValueError as error:
                raise UserError(f"{show_path((*SPACE, each))}: {error}") from error
    return found


def trial_member(campaign: LoadedCampaign, name: str, values: Values) -> Member:
    """The study of a trial; see ``trial_changes``."""
    return one_member(campaign, name, trial_changes(campaign, name, values), SPACE)


def restart_members(campaign: LoadedCampaign, count: int) -> list[Member]:
    """What the gradient alone starts from: the base, then random detectors."""
    first = one_member(campaign, "start 1", {}, SPACE)
    if count < 2:
        return [first]
    axis = StartsAxis(starts=count - 1, seed=search_of(campaign).seed)
    only = {name: next(iter(each.points)) for name, each in campaign.settings.axes.items()}
    settings = campaign.settings.model_copy(update={"only": (only,)})
    started = with_axes(_with(campaign, settings), {"start": axis}).members
    return [first, *started]


def _with(campaign: LoadedCampaign, settings: Any) -> LoadedCampaign:  # noqa: ANN401
    return LoadedCampaign(campaign.file, settings, campaign.members, campaign.document)


def own_changes(member: Member) -> dict[str, Any]:
    """What a member changes of its study file, besides its names."""
    return {p: json.loads(text) for p, text in member.changes.items() if p not in NAMES}


def probe(campaign: LoadedCampaign) -> None:
    """Load a study for the ends of every entry of the space, all others at their first value.

    Raises:
        UserError: one of them is no valid study; a trial in the middle may still fail, alone.
    """
    space = search_of(campaign).space
    first = {name: entry.probes[0] for name, entry in space.items()}
    for name, entry in space.items():
        for value in entry.probes:
            try:
                trial_member(campaign, f"{name}={value}", {**first, name: value})
            except UserError as error:
                raise UserError(f"{show_path((*SPACE, name))}, at {value}: {error}") from error
