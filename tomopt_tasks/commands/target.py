"""What people name in a command: a study file, a run, a stage of it, or an object by its key."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomopt_tasks.config.load import load_study
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.history import Known, stages_of
from tomopt_tasks.planning.plan import KINDS, Stage, plan_study
from tomopt_tasks.planning.select import select
from tomopt_tasks.project import default_store
from tomopt_tasks.runs.manifest import find_run, run_id
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

HEX = re.compile(r"[0-9a-f]{4,64}")
STUDY_FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class Planned:
    """A study, or a run of one, with its stages."""

    name: str
    """Name of the study."""
    run: str
    """Id of the run; that of a study file need not be in the store."""
    settings: Mapping[str, Any]
    """The study as JSON."""
    stages: Sequence[Stage | Known]
    """The plan, in order."""
    entries: Sequence[Mapping[str, Any]]
    """The manifest; empty: it has never run."""


def opened(url: str | None) -> Store:
    """The store that a command is about.

    Raises:
        UserError: there is none.
    """
    return open_store(url or default_store(), create=False)


def planned(store: Store | None, text: str, changes: Sequence[tuple[str, str]] = ()) -> Planned:
    """The study file or the run that a person names.

    Args:
        store: where runs are; None: there is no store yet.
        text: a path ending in .yaml, a run, the start of one, or the name of a study (newest run).
        changes: to a study file.

    Raises:
        UserError: there is none.
    """
    if text.endswith(STUDY_FILES) or Path(text).is_file():
        study = load_study(text, changes)
        stages = plan_study(study)
        run = run_id(study, stages)
        entries = [] if store is None else store.read_run(run)
        return Planned(study.study, run, study.model_dump(mode="json"), stages, entries)
    if store is None:
        raise UserError(
            f"{text!r}: there is no store yet, and no such study file; run a study first"
        )
    run = find_run(store, text)
    return of_run(store, run)


def of_run(store: Store, run: str) -> Planned:
    """A run by its id.

    Raises:
        UserError: its manifest is damaged.
    """
    entries = store.read_run(run)
    known = stages_of(entries)
    if not known:
        raise UserError(f"the manifest of run {run} in {store.url} is damaged; run its study again")
    started = [entry for entry in entries if entry.get("settings")]
    settings = started[-1]["settings"] if started else {}
    return Planned(str(settings.get("study", run)), run, settings, known, entries)


def read_campaign(store: Store, run: str) -> set[str] | None:
    """Ids of the runs of a campaign's members; None: it is the run of a study."""
    starts = [entry for entry in store.read_run(run) if entry.get("campaign")]
    return {str(each) for entry in starts for each in entry["members"].values()} if starts else None


def newest(store: Store) -> str:
    """The run with the latest entry.

    Raises:
        UserError: there is none.
    """
    for run in store.recent_runs():
        if read_campaign(store, run) is None:
            return run
    raise UserError(f"there is no run of a study in {store.url}; run one first")


def find_object(store: Store, text: str) -> tuple[str, str]:
    """Kind and key of the object that a person names; it may be retired or lost.

    Args:
        store: where to look.
        text: the first 4 or more digits of a key, maybe after ``kind/``; or ``RUN:STAGE`` with a
            stage as in `select`; or a run or study, for its evaluation.

    Raises:
        UserError: none or several fit.
    """
    kind, _, digits = text.rpartition("/")
    if HEX.fullmatch(digits) and (not kind or kind in store.kinds()):
        found = _by_digits(store, [kind] if kind else store.kinds(), digits)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{kind}/{key[:12]}" for kind, key in found[:5])
            raise UserError(f"{text!r} fits {names}; write more digits, or the kind before them")
        if kind or len(digits) == 64:
            raise UserError(
                f"there is no object {text!r} in {store.url}; `tomopt status` lists runs"
            )
    run, colon, words = text.partition(":")
    stages = planned(store, run).stages
    matching = select(stages, words if colon else "evaluate")
    if len(matching) > 1:
        labels = ", ".join(stage.label for stage in matching[:6])
        raise UserError(f"{text!r} fits {len(matching)} stages ({labels} ...); write a label")
    return KINDS[matching[0].name], matching[0].key


def find_ref(store: Store, text: str) -> Ref:
    """The ref of the object that a person names; of a retired one, what its tombstone says.

    Raises:
        UserError: there is none, or it is lost or damaged.
    """
    kind, key = find_object(store, text)
    ref = store.find(kind, key) or store.tombstone(kind, key)
    if ref is None:
        raise UserError(
            f"{kind} {key[:12]} is not in the store (never made, lost or damaged); run its study "
            "again to make it"
        )
    return ref


def _by_digits(store: Store, kinds: Sequence[str], digits: str) -> list[tuple[str, str]]:
    """Objects whose key begins with some digits; one folder a kind is listed."""
    found = {
        (kind, name.partition(".")[0])
        for kind in kinds
        for name in store.backend.children(f"{kind}/{digits[:2]}")
        if name.startswith(digits)
    }
    return sorted(found)
