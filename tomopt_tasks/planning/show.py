"""A plan as lines of text; epochs with one fate share a line."""

from collections.abc import Sequence
from itertools import groupby

from tomopt_tasks.planning.lookup import Step
from tomopt_tasks.planning.reasons import CODE, FOLLOWS, HINT


def plan_lines(steps: Sequence[Step], *, every: bool = False) -> list[str]:
    """One line a stage, or a group of like epochs, and a sum.

    Args:
        steps: the plan, looked up.
        every: give every epoch a line of its own.
    """
    if every:
        groups = [[step] for step in steps]
    else:
        groups = [list(group) for _, group in groupby(steps, key=_fate)]
    rows = [(_label(group), status_of(group[0]), group[0].reason) for group in groups]
    wide = max(len(label) for label, *_ in rows)
    lines = [f"{label:<{wide}}  {status:<8}  {why}".rstrip() for label, status, why in rows]
    n_run = sum(step.ref is None for step in steps)
    said = f"{n_run} of {len(steps)} stages would run" if n_run else f"all {len(steps)} are stored"
    hint = [HINT] if any(step.reason.startswith(CODE) for step in steps) else []
    return [*lines, "", said, *hint]


def _fate(step: Step) -> tuple[object, ...]:
    """What stages on one line have in common."""
    if step.stage.name != "fit_epoch":
        return (step.stage.key,)
    reason = "follows" if step.reason.startswith(FOLLOWS) else step.reason
    return (step.stage.label.rpartition(" ")[0], status_of(step), reason)


def _label(group: Sequence[Step]) -> str:
    first, last = group[0].stage.label, group[-1].stage.label
    return first if len(group) == 1 else f"{first} to {last.rpartition(' ')[2]}"


def status_of(step: Step) -> str:
    """Will it run, is it stored, or is only its ref left and nothing needs more?"""
    if step.ref is None:
        return "will run"
    return "retired" if step.retired else "cached"
