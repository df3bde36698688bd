"""``tomopt plan``: what would run, why, and what it would cost."""

from typing import Any

from tomopt_tasks.commands.answer import Answer, duration, size
from tomopt_tasks.config.study import Study
from tomopt_tasks.planning.accept import accept
from tomopt_tasks.planning.estimate import Estimate, estimate
from tomopt_tasks.planning.history import History
from tomopt_tasks.planning.lookup import Step, look_up
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.planning.select import select
from tomopt_tasks.planning.show import plan_lines, status_of
from tomopt_tasks.runs.run import Request
from tomopt_tasks.store.store import Store


def plan(study: Study, store: Store | None, request: Request, *, every: bool = False) -> Answer:
    """Look every stage of a study up; nothing runs and nothing is written.

    Args:
        study: the study.
        store: where results are; None: there is no store yet.
        request: what else is asked for: accepted code, forced stages.
        every: one line for every epoch.
    """
    stages = plan_study(study)
    history = History(store, study.study) if store is not None else None
    if request.accept_code and store is not None and history is not None:
        stages = accept(stages, store, history)
    forced = {stage.key for words in request.force for stage in select(stages, words)}
    steps = look_up(stages, store, study.study, history=history, forced=forced)
    n_run = sum(step.ref is None for step in steps)
    cost = estimate(steps, history) if n_run and history is not None else None
    data = {
        "study": study.study,
        "stages": [_row(step) for step in steps],
        "run": n_run,
        "cached": len(steps) - n_run,
        "estimate": cost.as_json() if cost else None,
    }
    return Answer(data, [*plan_lines(steps, every=every), *(_cost(cost) if cost else [])])


def _row(step: Step) -> dict[str, Any]:
    stage = step.stage
    return {
        "name": stage.name,
        "label": stage.label,
        "kind": stage.kind,
        "key": stage.key,
        "status": status_of(step),
        "reason": step.reason,
        "older_code": bool(stage.older),
    }


def _cost(cost: Estimate) -> list[str]:
    """Time, disk and memory in a line; what is not known in another."""
    lines = []
    if cost.measured:
        peak = f", at most {cost.peak_mb:.0f} MB of memory" if cost.peak_mb else ""
        lines.append(
            f"about {duration(cost.seconds)}, {size(cost.nbytes)} on disk{peak} (judged by "
            f"{cost.measured} stages that have run here)"
        )
    if cost.unknown:
        lines.append(f"no estimate for {', '.join(cost.unknown)}: none has run here yet")
    return lines
