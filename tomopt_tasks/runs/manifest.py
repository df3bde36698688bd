"""The manifest of a run: what was asked, planned, found and made, when and where.

A run is a study with its plan, so running the same study again appends to the same run. Entries are
append-only: "started" (with the plan, once), "progress" once a minute, and then "finished",
"failed" or "interrupted"; a run that was killed has no end. "invalidated" names results that
somebody threw away. Times, host and versions are provenance and live here only.
"""

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from tomopt_tasks.caching.keys import digest
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.history import slug, study_in
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.runs.machine import machine
from tomopt_tasks.store.store import Store

ENDS = frozenset({"finished", "failed", "interrupted"})
"""Events that end a session of a run."""

PACKAGES = ("tomopt-tasks", "torch", "numpy", "zarr", "pydantic", "prefect")


def run_id(study: Study, stages: Sequence[Stage]) -> str:
    """The name of a study and a digest of its plan: equal work, equal run."""
    return f"{slug(study.study)}-{digest([stage.key for stage in stages])[:8]}"


def find_run(store: Store, name: str) -> str:
    """The run that a person means: its id, the start of one, or a study's name (newest run).

    Raises:
        UserError: none or several fit.
    """
    runs = store.runs()
    if name in runs:
        return name
    of_study = [run for run in runs if study_in(run) == slug(name)]
    if of_study:
        return max(of_study, key=lambda run: str(store.read_run(run)[-1].get("at", "")))
    fitting = [run for run in runs if run.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise UserError(f"run {name!r} fits {', '.join(fitting[:5])}; write more of its name")
    known = ", ".join(runs[-5:]) or "none yet"
    raise UserError(f"there is no run {name!r} in {store.url}; runs: {known}")


def study_of(store: Store, run: str) -> Study:
    """The study of a run, as it was validated then.

    Raises:
        UserError: the manifest does not hold one that this version can read.
    """
    for entry in reversed(store.read_run(run)):
        if entry.get("settings"):
            try:
                return Study.model_validate(entry["settings"])
            except ValueError as error:
                msg = (
                    f"run {run} was made by another version of tomopt, whose study this one "
                    "cannot read; run its study file again"
                )
                raise UserError(msg) from error
    raise UserError(f"run {run} holds no study; run its study file again")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def provenance() -> dict[str, Any]:
    """Versions, host and command; no part of any key."""
    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "host": machine(),
        "commit": _commit(),
        "command": ["tomopt", *sys.argv[1:]],
    }


def seeds_of(study: Study) -> dict[str, int]:
    """The seeds that the streams of a study are named by."""
    seeds = {"scenes": study.scenes.seed, "muons": study.muons.seed}
    if study.muons.train_seed is not None:
        seeds["training muons"] = study.muons.train_seed
    if study.muons.test_seed is not None:
        seeds["test muons"] = study.muons.test_seed
    return seeds | {"fit": study.fit.seed, "evaluation": study.evaluation.seed}


def last_made(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Key -> digest and measures of the stages that a run executed, the last time each."""
    return {key: made for entry in entries for key, made in entry.get("executed", {}).items()}


def maker_of(store: Store, key: str, sha256: str) -> dict[str, Any] | None:
    """The machine that is known to have made a content under a key; None if no run tells."""
    for run in store.recent_runs():
        host: dict[str, Any] | None = None
        for entry in store.read_run(run):
            host = entry.get("host", host)
            if entry.get("executed", {}).get(key, {}).get("sha256") == sha256:
                return host
    return None


def epoch_row(
    label: str, components: Mapping[str, Any], metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """The metrics of an epoch with its number (from 0) and its phase (the head of the label)."""
    phase = label.rsplit(" ", 2)[0]
    return {"epoch": components["inputs"]["epoch"], "phase": phase, **metrics}


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _commit() -> str:
    """The commit of the source tree that this code runs from; empty outside of one."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
