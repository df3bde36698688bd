"""What a process of a campaign does: one shared stage, or one member."""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from tomopt_tasks.caching.closure import code_digest
from tomopt_tasks.campaigns.plan import MemberPlan, plan_member
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.lookup import stopped
from tomopt_tasks.planning.plan import KINDS, Stage
from tomopt_tasks.runs import body
from tomopt_tasks.runs.manifest import run_id
from tomopt_tasks.runs.run import Request, Run, begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

CHANGED = "the code changed while the campaign ran; run it again, it goes on with the new code"


def prepare() -> None:
    """Import the code of all stages and note its digests together, so that neither is newer."""
    body.bodies()
    for name in KINDS:
        code_digest(name)


def make_stages(url: str, stages: Sequence[Stage], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Make stages that several members read, one after the other.

    Args:
        url: of the store.
        stages: whose parents are in the store, or before them in the list.
        kinds: key -> kind of each parent.
    """
    counted = len(body.executed)

    def work() -> dict[str, Any]:
        store = _store(url)
        refs: dict[str, Ref] = {}
        for stage in stages:
            refs[stage.key] = _make(store, stage, kinds, refs)
        return {"executed": len(body.executed) - counted}

    made = timed(work)
    ours = {stage.key for stage in stages} & set(body.executed[counted:]) & body.seconds.keys()
    return made | {"took": {key: round(body.seconds[key], 4) for key in sorted(ours)}}


def _make(store: Store, stage: Stage, kinds: Mapping[str, str], made: Mapping[str, Ref]) -> Ref:
    if code_digest(stage.name) != stage.components["code"]:
        raise UserError(CHANGED)
    refs = {key: made.get(key) or store.find(kinds[key], key) for key in stage.parents.values()}
    found = {key: ref for key, ref in refs.items() if ref is not None}
    if len(found) < len(refs):
        raise UserError(f"{stage.label}: what it is made from is lost; run again")
    early = stopped(stage, found)
    return early or Ref.model_validate(body.perform(body.work_of(stage, store, found)))


def run_member(url: str, plan: MemberPlan) -> dict[str, Any]:
    """Run a member: the same run, with the same manifest, as ``tomopt run`` makes.

    Args:
        url: of the store.
        plan: the member.
    """

    def work() -> dict[str, Any]:
        with begun(url, plan, "campaign") as run:
            run_all(run)
        return {"executed": len(run.executed), "cached": run.cached, "run": run.id}

    return timed(work)


@contextmanager
def begun(url: str, plan: MemberPlan, runner: str) -> Iterator[Run]:
    """The run of a member, begun with the code that it was planned with.

    Args:
        url: of the store.
        plan: the member.
        runner: for the manifest.

    Raises:
        UserError: this process has other code.
    """
    member, store = plan.member, _store(url)
    stages = plan_member(member, store if plan.accepts else None)
    if run_id(member.study, stages) != plan.run:
        raise UserError(CHANGED)
    request = Request(member.file, dict(member.changes), plan.accepts)
    with begin(member.study, store, runner, request=request) as run:
        yield run


def timed(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result with its time; what goes wrong in words."""
    started = time.perf_counter()
    try:
        result = work()
    except UserError as error:
        result = {"error": " ".join(str(error).split())}
    except Exception as error:  # noqa: BLE001 - one member is not worth the others
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename.rpartition('/')[2]}, line {last.lineno}"
        text = " ".join(str(error).split()) or "no message"
        result = {
            "error": f"{type(error).__name__}: {text} ({place})",
            "traceback": traceback.format_exc(),
        }
    return result | {"seconds": round(time.perf_counter() - started, 3)}


@cache
def _store(url: str) -> Store:
    return open_store(url)
