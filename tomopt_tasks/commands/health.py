"""What ``tomopt doctor`` can see without Prefect: versions, disks, the store and its runs."""

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tomopt_tasks.commands.answer import Answer, size
from tomopt_tasks.commands.status import state_of
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.lookup import existing_store
from tomopt_tasks.project import state_folder
from tomopt_tasks.runs.closing import close

PACKAGE = "tomopt-tasks"
LEAST_FREE = 1e9
"""Bytes that ought to be free; a bank takes some 100 MB."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    check: str
    found: str
    cure: str = ""
    """What to do; empty: all is well."""
    mended: bool = False


def answer_of(findings: Sequence[Finding]) -> Answer:
    """The findings as lines; exit code 1 if something stays wrong."""
    lines = []
    for each in findings:
        state = "ok" if not each.cure else "mended" if each.mended else "WRONG"
        cure = f"; {each.cure}" if state == "WRONG" else ""
        lines.append(f"{state:<7} {each.check:<9} {each.found}{cure}")
    wrong = [each for each in findings if each.cure and not each.mended]
    data = {"findings": [asdict(each) for each in findings], "wrong": len(wrong)}
    return Answer(data, lines, code=1 if wrong else 0)


def environment_findings(url: str) -> Iterator[Finding]:
    """Versions, disks and the store."""
    wrong = list(wrong_versions())
    yield from wrong or [Finding("versions", "as the package asks for")]
    for name, folder in (("state", state_folder()), ("store", Path(url))):
        if name == "state" or "://" not in url:
            yield disk(name, folder)
    yield _store(url)


def wrong_versions() -> Iterator[Finding]:
    """Installed packages that are missing or not of a version that this one works with."""
    for text in metadata.requires(PACKAGE) or ():
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            got = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            got = "not installed"
        if got == "not installed" or not wanted.specifier.contains(got, prereleases=True):
            cure = f'pip install --constraint constraints.txt "{wanted.name}{wanted.specifier}"'
            yield Finding("versions", f"{wanted.name} {got}, {wanted.specifier} is needed", cure)


def disk(name: str, folder: Path) -> Finding:
    """Whether there is room where something lies, or would be made."""
    place = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    cure = "" if free >= LEAST_FREE else "make room: tomopt gc --apply gives up old checkpoints"
    return Finding("disk", f"{name}: {size(free)} free at {place}", cure)


def _store(url: str) -> Finding:
    try:
        store = existing_store(url)
        if store is None:
            return Finding("store", f"none yet at {url}")
        n_runs = len(store.runs())
    except (UserError, OSError) as problem:
        return Finding("store", str(problem), "check --store, TOMOPT_STORE and access to it")
    if "://" not in store.url and not os.access(store.url, os.W_OK):
        return Finding("store", f"{store.url} cannot be written", "give yourself the right to")
    return Finding("store", f"{n_runs} runs in {store.url}")


def killed_runs(url: str, *, mend: bool) -> list[Finding]:
    """Runs in the store whose process is gone without having written an end."""
    try:
        store = existing_store(url)
        names = [] if store is None else store.recent_runs()
    except (UserError, OSError):
        return []
    found = []
    for name in names:
        if store is None or state_of(store.read_run(name)) != "killed":
            continue
        if mend:
            close(store, name, "killed: its process was gone when the doctor looked")
        found.append(Finding("runs", f"{name} in the store was killed", "--mend ends it", mend))
    return found
