"""``tomopt gc``: give up checkpoints that nobody needs, and leftovers of killed writers.

A fit needs few of its checkpoints: the last ones to go on from, the best ones, and those that
something else was made from. Of the others the metrics are kept (a tombstone), so that curves
survive; a stage that ever needs one of them makes it again. What the runs to keep need besides
checkpoints (volumes, banks, predictions, evaluations) stays.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.commands.answer import Answer, size
from tomopt_tasks.commands.target import Planned, of_run, read_campaign
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.history import Known
from tomopt_tasks.planning.plan import KINDS, Stage
from tomopt_tasks.reports.text import columns
from tomopt_tasks.store.collect import DAY
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

Name = tuple[str, str]
"""Kind and key."""

AnyStage = Stage | Known

CHAIN = ("start_fit", "fit_epoch")
"""Stages whose checkpoints are thinned out: those of a fit."""


@dataclass(frozen=True)
class Policy:
    """What to keep of each fit, and of each study."""

    last: int = 3
    """Newest checkpoints."""
    best: int = 1
    """Checkpoints with the lowest loss."""
    every: int = 0
    """Every m-th checkpoint; 0: none for this reason."""
    runs: int = 0
    """Newest runs of each study; the objects of older ones go, members of campaigns apart; 0: all
    runs."""
    hours: float = DAY / 3600
    """Only what is older goes."""


def gc(store: Store, policy: Policy, *, apply: bool = False) -> Answer:
    """Tell what would go, or let it go.

    Args:
        store: the store.
        policy: what to keep.
        apply: delete; else nothing is changed.

    Raises:
        UserError: a policy that could hit what a live run is writing.
    """
    if policy.hours * 3600 < DAY:
        raise UserError(
            f"--older-than {policy.hours:g}: younger than 24 h may belong to a live run; use 24 or "
            "more"
        )
    kept, gone = _plan(store, policy)
    leftovers = store.gc(policy.hours * 3600, dry_run=not apply)
    for ref in gone if apply else []:
        store.retire(ref)
    counts: dict[str, list[float]] = {}
    for ref in gone:
        count = counts.setdefault(ref.kind, [0, 0])
        count[0] += 1
        count[1] += ref.nbytes
    rows = [
        {"what": kind, "objects": str(int(n)), "size": size(nbytes)}
        for kind, (n, nbytes) in sorted(counts.items())
    ]
    if leftovers:
        nbytes = sum(item.nbytes for item in leftovers)
        rows.append({"what": "leftovers", "objects": str(len(leftovers)), "size": size(nbytes)})
    total = sum(ref.nbytes for ref in gone) + sum(item.nbytes for item in leftovers)
    verb = "given up" if apply else "would be given up; --apply does it"
    why: dict[str, int] = {}
    for reason in kept.values():
        why[reason] = why.get(reason, 0) + 1
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(why.items()))
    lines = [*columns(rows), "", f"kept: {reasons or 'nothing'}", f"{size(total)} {verb}"]
    data = {
        "applied": apply,
        "bytes": total,
        "given_up": [{"kind": ref.kind, "key": ref.key, "bytes": ref.nbytes} for ref in gone],
        "leftovers": [
            {"path": item.path, "bytes": item.nbytes, "why": item.why} for item in leftovers
        ],
        "kept": [{"kind": kind, "key": key, "why": why} for (kind, key), why in kept.items()],
    }
    return Answer(data, lines)


def pin(store: Store, ref: Ref, *, keep: bool = True) -> Answer:
    """Let no clean-up give an object up, or take that back."""
    store.pin(ref.kind, ref.key, keep=keep)
    word = "pinned" if keep else "no longer pinned"
    return Answer(
        {"kind": ref.kind, "key": ref.key, "pinned": keep}, [f"{ref.kind} {ref.key[:12]} {word}"]
    )


def _plan(store: Store, policy: Policy) -> tuple[dict[Name, str], list[Ref]]:
    """What stays and why, and what goes."""
    runs, members = _all_runs(store)
    stored = {kind: set(store.keys(kind)) for kind in set(KINDS.values())}
    kept: dict[Name, str] = dict.fromkeys(store.pinned(), "pinned")
    staying = []
    of_study: dict[str, int] = {}
    for run in runs:
        of_study[run.name] = of_study.get(run.name, 0) + 1
        if not policy.runs or of_study[run.name] <= policy.runs or run.run in members:
            staying.append(run)
            _keep(run, store, policy, stored, kept)
    _keep_branches(staying, kept)
    named = {(KINDS[stage.name], stage.key) for run in runs for stage in run.stages}
    gone = []
    for kind, key in sorted(named - kept.keys()):
        ref = store.find(kind, key) if key in stored[kind] else None
        if ref is None:
            continue
        if (store.modified(ref) or time.time()) < time.time() - policy.hours * 3600:
            gone.append(ref)
        else:
            kept[kind, key] = "too young"
    return kept, gone


def _all_runs(store: Store) -> tuple[list[Planned], set[str]]:
    """All runs of studies, the newest first, and the ids of those that belong to a campaign."""
    campaigns = {run: read_campaign(store, run) for run in store.recent_runs()}
    members = {member for named in campaigns.values() for member in named or ()}
    try:
        return [of_run(store, run) for run, named in campaigns.items() if named is None], members
    except UserError as damaged:
        raise UserError(f"{damaged}; until then nobody knows what it needs") from damaged


def _keep(
    run: Planned,
    store: Store,
    policy: Policy,
    stored: Mapping[str, set[str]],
    kept: dict[Name, str],
) -> None:
    """Enter what a run to keep needs."""
    retired = store.retired("checkpoint")
    checkpoints = [stage for stage in run.stages if stage.name in CHAIN]
    there = [stage for stage in checkpoints if stage.key in stored["checkpoint"]]
    for stage in run.stages:
        kind = KINDS[stage.name]
        if stage.name not in CHAIN:
            kept.setdefault((kind, stage.key), "needed by a run")
        if kind != "checkpoint" or stage.key not in stored[kind] | retired:
            for parent in _checkpoints_of(stage):
                kept.setdefault(("checkpoint", parent), "parents")
    reasons: list[tuple[str, Sequence[AnyStage]]] = [
        ("last", there[-policy.last :] if policy.last else []),
        ("best", _best(store, there, policy.best)),
        ("every m-th", checkpoints[:: policy.every] if policy.every else []),
    ]
    for reason, stages in reasons:
        for stage in stages:
            kept.setdefault(("checkpoint", stage.key), reason)


def _keep_branches(runs: Sequence[Planned], kept: dict[Name, str]) -> None:
    """Checkpoints that more than one fit goes on from."""
    children: dict[str, set[str]] = {}
    for run in runs:
        for stage in run.stages:
            for parent in _checkpoints_of(stage):
                if stage.name == "fit_epoch":
                    children.setdefault(parent, set()).add(stage.key)
    for key, fits in children.items():
        if len(fits) > 1:
            kept.setdefault(("checkpoint", key), "parents")


def _checkpoints_of(stage: AnyStage) -> Iterator[str]:
    for role, key in stage.components["parents"].items():
        if role == "checkpoint" or role.startswith("candidate/"):
            yield key


def _best(store: Store, stages: Sequence[AnyStage], count: int) -> list[AnyStage]:
    if not count:
        return []
    losses: list[tuple[float, Any]] = []
    for stage in stages:
        ref = store.find("checkpoint", stage.key)
        loss = ref.metrics.get("loss") if ref else None
        if isinstance(loss, float):
            losses.append((loss, stage))
    losses.sort(key=lambda pair: pair[0])
    return [stage for _, stage in losses[:count]]
