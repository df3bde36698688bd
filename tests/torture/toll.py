"""What killed runs have left: nothing torn, nothing lost, nothing else than an undisturbed run."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tomopt_tasks.planning.lookup import existing_store
from tomopt_tasks.store.store import Store

Found = dict[tuple[str, str], str]
"""(kind, key) -> sha256 of the content."""
ATTEMPT = re.compile(r"/[0-9a-f]{32}/")
END = re.compile(r"</html>\s*(<!-- [0-9a-f ]+ -->\s*)?\Z")
"""How a whole page ends: with a digest of what it was made of."""
PROBLEMS = ("torn", "lost", "failed", "orphans", "redone", "differs")


@dataclass
class Toll:
    """Counts over all kills of one kind; all but the first three must be zero in the end."""

    kills: int = 0
    runs: int = 0
    rounds: int = 0
    """Studies that were finished in spite of it."""
    torn: int = 0
    """Objects that were visible and damaged."""
    lost: int = 0
    """Objects that were acknowledged or seen, and are not there or are others."""
    failed: int = 0
    """Runs that ended by themselves with an error."""
    orphans: int = 0
    """Processes that were left of a killed group."""
    redone: int = 0
    """Objects that were made again although they were acknowledged; not counted for pairs."""
    differs: int = 0
    """Objects, sets of files or reports that are not those of the undisturbed run."""
    leftovers: int = 0
    """Files of killed writers, all of which gc removed."""
    said: list[str] = field(default_factory=list)

    def add(self, name: str, problems: list[str]) -> None:
        """Count problems and remember what they were."""
        setattr(self, name, getattr(self, name) + len(problems))
        self.said += [f"{name}: {problem}" for problem in problems]

    @property
    def clean(self) -> bool:
        """Nothing went wrong."""
        return not any(getattr(self, name) for name in PROBLEMS)

    def row(self, name: str) -> dict[str, str]:
        """A line of the summary."""
        counted = ("kills", "runs", "rounds", *PROBLEMS)
        return {
            "what": name,
            **{each: str(getattr(self, each)) for each in counted},
            "leftovers, removed": str(self.leftovers),
        }


@dataclass(frozen=True)
class Undisturbed:
    """What a run leaves that nobody disturbs."""

    objects: Found
    files: Counter[str]

    @staticmethod
    def of(store: Store) -> "Undisturbed":
        """Look through a store in which the study has run."""
        return Undisturbed(found(store), files(store))


def found(store: Store) -> Found:
    """All objects that verify."""
    refs = (store.find(kind, key) for kind in store.kinds() for key in store.keys(kind))
    return {(ref.kind, ref.key): ref.sha256 for ref in refs if ref is not None}


def files(store: Store) -> Counter[str]:
    """Paths of the files of objects; the random name of an attempt does not count."""
    paths = (path for kind in store.kinds() for path in store.backend.listing(kind))
    return Counter(ATTEMPT.sub("/*/", path) for path in paths)


def acknowledged(acks: Path) -> list[tuple[tuple[str, str], str]]:
    """What the runs of a round have been told to be committed, in order."""
    lines = acks.read_text().splitlines() if acks.exists() else []
    told = (line.split() for line in lines if not line.startswith("operations"))
    return [((kind, key), sha) for kind, key, sha in told]


def autopsy(toll: Toll, folder: Path, known: Mapping[tuple[str, str], str], good: Found) -> Found:
    """Look at a store after a kill: what verifies; problems are counted.

    Args:
        toll: where to count.
        folder: of the store.
        known: what was seen or acknowledged before.
        good: objects of an undisturbed run.
    """
    store = existing_store(str(folder))
    if store is None:
        toll.add("lost", [f"the whole store {folder}"] if known else [])
        return {}
    toll.add("torn", [f"{at.path}: {at.problem}" for at in store.audit(deep=True) if at.problem])
    now = found(store)
    toll.add("torn", list(store.backend.listing(".damaged")))
    toll.add("lost", [f"{name} {sha}" for name, sha in known.items() if now.get(name) != sha])
    toll.add("differs", [f"{name} {sha}" for name, sha in now.items() if good.get(name) != sha])
    return now


def finish(toll: Toll, folder: Path, good: Undisturbed) -> None:
    """After the last run of a round: everything is there, and gc leaves nothing else."""
    store = existing_store(str(folder))
    assert store is not None
    toll.rounds += 1
    for path in folder.rglob("*"):
        os.utime(path, (0.0, 0.0))  # gc takes nothing that may still be in work
    toll.leftovers += len(store.gc(dry_run=False))
    toll.add("differs", [f"{name} is missing" for name in good.objects.keys() - found(store)])
    now = files(store)
    toll.add("differs", sorted(((now - good.files) + (good.files - now)).elements()))
    toll.add("differs", sorted(store.backend.listing(".tmp")))
    for run in store.runs():
        last = store.read_run(run)[-1]["event"]
        page = folder / "reports" / run / "report.html"
        whole = page.exists() and END.search(page.read_text())
        toll.add("differs", [f"{run} ended as {last}"] if last != "finished" else [])
        toll.add("differs", [] if whole else [f"{page} is not whole"])
