"""``tomopt explain``: where a result comes from, back to the study, and who made it when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.commands.answer import Answer, clock, duration
from tomopt_tasks.commands.target import find_object
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.history import Known, stages_of
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.planning.reasons import leaves, short
from tomopt_tasks.runs.results import Recorded, command_of
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

CHAIN = "fit_epoch"
"""Stage whose long chains are told in one line."""


@dataclass(frozen=True)
class Made:
    """A body that ran."""

    run: str
    at: str
    sha256: str
    seconds: float | None
    reason: str
    start: Mapping[str, Any]
    """The start of the session that it belongs to."""


class Ledger:
    """All that the manifests of a store tell about the stages that hang together with one key.

    Args:
        store: where the manifests are.
        key: the key that is asked for.
    """

    def __init__(self, store: Store, key: str) -> None:
        self.runs: list[str] = []
        self.stages: dict[str, Known] = {}
        self.made: dict[str, Made] = {}
        for run in store.recent_runs():
            entries = store.read_run(run)
            found = {stage.key: stage for stage in stages_of(entries)}
            if key in found:
                self.runs.append(run)
                self.stages = found | self.stages
            self._note(run, entries)

    def _note(self, run: str, entries: Sequence[Mapping[str, Any]]) -> None:
        start: Mapping[str, Any] = {}
        for entry in entries:
            if entry.get("event") == "started":
                start = entry
            for key, row in entry.get("executed", {}).items():
                at = str(row.get("at") or entry.get("at", ""))
                seconds, reason = row.get("seconds"), row.get("reason", "")
                made = Made(run, at, row["sha256"], seconds, reason, start)
                if key not in self.made or self.made[key].at < made.at:
                    self.made[key] = made


def explain(store: Store, text: str, number: str = "") -> Answer:
    """The lineage of an object, or of a number in it.

    Args:
        store: where it is.
        text: see `find_object`.
        number: place of the number in the object, such as ``designs.fit.mse``; empty: none.
    """
    kind, key = find_object(store, text)
    ledger = Ledger(store, key)
    if key not in ledger.stages:
        raise UserError(
            f"{kind} {key[:12]}: no run names it, so that nothing tells how it was made; `tomopt "
            "inspect` shows what it holds"
        )
    ref = store.find(kind, key) or store.tombstone(kind, key)
    data: dict[str, Any] = {"kind": kind, "key": key, "runs": ledger.runs}
    lines: list[str] = []
    if number:
        data["number"] = {"place": number, "value": _number(store, ref, number)}
        lines += [f"{number} = {data['number']['value']}", ""]
    order = _ancestors(ledger, key)
    data["lineage"] = [_as_json(store, ledger, each) for each in order]
    record = Recorded(ledger.runs[0], store.read_run(ledger.runs[0]))
    data["command"] = command_of(record)
    data["settings"] = record.started.get("settings", {})
    lines += [*_told(ledger, order), "", *_origin(record)]
    return Answer(data, lines)


def _number(store: Store, ref: Ref | None, place: str) -> Any:  # noqa: ANN401
    """The value at a place in the metrics or, of a record, in the tree."""
    if ref is None:
        raise UserError("the object is lost; run its study again, then ask again")
    found = dict(leaves(ref.metrics))
    if place not in found and store.find(ref.kind, ref.key) is not None:
        found = dict(leaves(store.outline(ref)))
    if place not in found:
        near = [path for path in found if path.rpartition(".")[2] == place.rpartition(".")[2]]
        raise UserError(f"there is no {place!r}; there are {', '.join((near or list(found))[:8])}")
    return found[place]


def _ancestors(ledger: Ledger, key: str) -> list[str]:
    """The key and all that it hangs on, each once, children first."""
    order: dict[str, None] = {}
    waiting = [key]
    while waiting:
        each = waiting.pop(0)
        if each in ledger.stages and each not in order:
            order[each] = None
            waiting.extend(ledger.stages[each].components["parents"].values())
    return list(order)


def _as_json(store: Store, ledger: Ledger, key: str) -> dict[str, Any]:
    stage, made = ledger.stages[key], ledger.made.get(key)
    kind = KINDS[stage.name]
    ref = store.find(kind, key)
    return {
        "label": stage.label,
        "kind": kind,
        "key": key,
        "stored": ref is not None,
        "sha256": ref.sha256 if ref else None,
        "components": stage.components,
        "modules": stage.modules,
        "made": None if made is None else {
            "run": made.run,
            "at": made.at,
            "sha256": made.sha256,
            "seconds": made.seconds,
            "reason": made.reason,
            "commit": made.start.get("commit", ""),
            "versions": made.start.get("versions", {}),
            "host": made.start.get("host", {}),
        },
    }  # fmt: skip


def _told(ledger: Ledger, order: Sequence[str]) -> list[str]:
    """Stage by stage, each after what was made from it; a chain of epochs is one entry."""
    lines: list[str] = []
    chain = [key for key in order if ledger.stages[key].name == CHAIN]
    for key in order:
        stage = ledger.stages[key]
        if key in chain[1:]:
            continue
        lines.append(
            f"{stage.label}  {KINDS[stage.name]} {key[:12]}  {_when(ledger, key)}".rstrip()
        )
        lines.append(f"  settings  {_settings(stage)}")
        first = ledger.stages[chain[-1]] if key in chain else stage
        if first is not stage:
            lines.append(f"  after     {len(chain) - 1} epochs, from {first.label} on")
        parents = first.components["parents"].values()
        names = [ledger.stages[parent].label for parent in parents if parent in ledger.stages]
        if names:
            lines.append(f"  made from {', '.join(dict.fromkeys(names))}")
    return lines


def _settings(stage: Known) -> str:
    """The settings of a stage: plain ones with their values, sections by name."""
    inputs = stage.components["inputs"]
    return ", ".join(
        name if isinstance(value, dict) else f"{name} {short(value)}"
        for name, value in inputs.items()
    )


def _when(ledger: Ledger, key: str) -> str:
    made = ledger.made.get(key)
    if made is None:
        return "(made by a run that was killed)"
    took = "" if made.seconds is None else f" in {duration(made.seconds)}"
    why = f", {made.reason}" if made.reason else ""
    return f"(made {clock(made.at)}{took} by run {made.run}{why})"


def _origin(record: Recorded) -> list[str]:
    """The seeds, the code and the machine of a run, and the command that makes it again."""
    start = record.started
    versions = ", ".join(f"{name} {text}" for name, text in start.get("versions", {}).items())
    seeds = ", ".join(f"{name} {seed}" for name, seed in start.get("seeds", {}).items())
    host = start.get("host", {})
    lines = [
        f"run        {record.id}, {clock(str(start['at']))}",
        f"seeds      {seeds}",
        f"code       commit {start.get('commit') or 'unknown'}; {versions}",
        f"machine    {host.get('name')}, {host.get('threads')} threads, {host.get('vectors')}",
        f"again      {command_of(record)}",
    ]
    for label, names in (start.get("accepted") or {}).items():
        lines.append(f"older code {label}: {', '.join(names)} changed since")
    return lines
