"""What a campaign report is made of: one table for designs that may be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Any

from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.reports.data import Target, design_label, target_of
from tomopt_tasks.reports.search_data import SearchData

FIT = "fit"


@dataclass(frozen=True, slots=True)
class TableData:
    """Designs that were compared with each other."""

    label: str
    """Which table; empty: there is one."""
    study: Mapping[str, Any]
    """The study of its first member, as JSON."""
    record: Mapping[str, Any]
    """The comparison; see ``evaluation.compare``."""
    members: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict)
    """(entry, repeat) -> member, run and seconds of the fit."""
    histories: Mapping[tuple[str, str], Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """(entry, repeat) -> one row of metrics an epoch, for fits."""
    predictions: Mapping[str, Predictions] = field(default_factory=dict)
    """Of the designs of ``shown`` for the test bank."""
    older: frozenset[str] = frozenset()
    """Entries that hang on accepted results of older code."""

    @property
    def target(self) -> Target:
        """The measured quantity."""
        return target_of(self.study)

    @property
    def middle(self) -> tuple[float, float]:
        """Centre of the passive volume in x and y [m]."""
        x, y = self.study["world"]["size"]
        return x / 2, y / 2

    @property
    def reference(self) -> str:
        """The entry that ratios are taken to."""
        return str(self.record["reference"])

    @property
    def best(self) -> tuple[str, str]:
        """Entry and repeat with the least error on the validation bank: of the fits, if any.

        The test bank has no say in what is shown, so that its error stays an honest one.
        """
        entries = self.record["entries"]
        rows = [
            (row["valid_mse"], name, row["label"])
            for name in fits(self.record) or list(entries)
            for row in entries[name]["repeats"]
        ]
        _, name, label = min(rows)
        return name, label

    @property
    def shown(self) -> dict[str, tuple[str, str]]:
        """What is drawn side by side: name in the figures -> entry and repeat."""
        entries = self.record["entries"]
        chosen = {FIT if is_fit(self.best[0]) else self.best[0]: self.best}
        reference = entries[self.reference]["repeats"][0]["label"]
        chosen.setdefault(self.reference, (self.reference, reference))
        if "start" in entries and len(entries["start"]["repeats"]) == 1:
            chosen = {"start": ("start", entries["start"]["repeats"][0]["label"]), **chosen}
        return chosen

    def repeat(self, entry: str, label: str) -> Mapping[str, Any]:
        """Figures of one repetition."""
        rows = self.record["entries"][entry]["repeats"]
        return next(row for row in rows if row["label"] == label)


@dataclass(frozen=True, slots=True)
class CampaignData:
    """Everything that the page of a campaign shows."""

    title: str
    campaign: str
    tables: Sequence[TableData]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Member -> why it is not in the tables."""
    n_members: int = 0
    goals: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Label of a table -> what its best fit should reach; see ``config.campaign.Goal``."""
    command: str = ""
    """Shell command that makes the campaign again."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    search: SearchData | None = None
    """What the designs were found by; None: they are listed."""


def is_fit(entry: str) -> bool:
    """Whether an entry is the result of a fit."""
    return entry.partition(" ")[0] == FIT


def fits(record: Mapping[str, Any]) -> list[str]:
    """The entries that are results of fits."""
    return [name for name in record["entries"] if is_fit(name)]


def entry_label(entry: str) -> str:
    """How an entry is called: "fit 4 m2" is "optimised, 4 m2"."""
    design, _, point = entry.partition(" ")
    return ", ".join(part for part in (design_label(design), point) if part)


def module_offsets(
    geometry: Sequence[Mapping[str, Any]], middle: tuple[float, float]
) -> dict[str, float]:
    """Distance of the mean centre of the panels of each side from a point [m].

    Args:
        geometry: panels with pos and xy.
        middle: x and y [m].
    """
    offsets = {}
    for pos in dict.fromkeys(str(panel["pos"]) for panel in geometry):
        centres = [panel["xy"] for panel in geometry if panel["pos"] == pos]
        mean = [sum(centre[i] for centre in centres) / len(centres) for i in (0, 1)]
        offsets[pos] = hypot(mean[0] - middle[0], mean[1] - middle[1])
    return offsets


def worst_offset(table: TableData, entry: str) -> float | None:
    """The largest distance of a module of any repetition from the middle [m]."""
    found = [
        offset
        for row in table.record["entries"][entry]["repeats"]
        for offset in module_offsets(row["geometry"], table.middle).values()
    ]
    return max(found, default=None)
