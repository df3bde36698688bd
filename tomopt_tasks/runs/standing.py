"""How a run stands, from what it has done: what was cached, what ran and why, and what comes."""

import platform
from collections.abc import Mapping
from typing import Any

from tomopt_tasks.planning.lookup import Step
from tomopt_tasks.reports.standing import Standing, blind_epochs
from tomopt_tasks.runs.closing import go_on
from tomopt_tasks.runs.run import Run
from tomopt_tasks.store.errors import DamagedObject


def facts_of(run: Run) -> dict[str, str]:
    """What people look for: study, seed, device and host."""
    numerics = run.steps[-1].stage.components["numerics"]
    return {
        "study": run.study.study,
        "seed": str(run.study.seed),
        "device": str(numerics["device"]),
        "host": platform.node(),
    }


def how_to_go_on(run: Run) -> str:
    """What a person does next; nothing that is stored runs again."""
    done, total = run.epochs_done
    asked = run.request
    command = go_on(asked.study, asked.changes, run.store.url)
    return (
        f"{done} of {total} epochs are stored and will not run again. Run it again with the same "
        f"parameters to go on, or: `{command}`"
    )


def standing_of(run: Run, state: str, words: str, facts: Mapping[str, str]) -> Standing:
    """The facts of this moment.

    Args:
        run: the run.
        state: one word.
        words: why it ended and how to go on, if it has.
        facts: what people look for: study, seed, device, host.
    """
    notes = (words, stopped_because(run), blind_epochs(run.history))
    return Standing(
        run=run.id,
        state=state,
        epochs=run.epochs_done,
        now=next((step.stage.label for step in run.steps if step.stage.key not in run.refs), ""),
        stages=[_row(run, step) for step in run.steps if step.stage.key in run.refs],
        n_stages=len(run.steps),
        history=run.history,
        words="\n\n".join(filter(None, notes)),
        facts=facts,
    )


def last_epoch(run: Run) -> Step:
    """The latest epoch that is done; there is one."""
    done = [step for step in run.steps if step.stage.name == "fit_epoch"]
    return done[len(run.history) - 1]


def ran_here(run: Run, step: Step) -> bool:
    """Whether the body of a stage ran, and its result was not only found."""
    return step.stage.key in run.measured


def stopped_because(run: Run) -> str:
    """Why the fit has ended before its last epoch, in the words of what ended it; else empty."""
    ends = [row for row in run.history if row.get("stopped")]
    if not ends:
        return ""
    step = last_epoch(run)
    ref = run.refs[step.stage.key]
    words = f"The fit stopped itself in epoch {int(ends[0]['epoch']) + 1}"
    try:
        states = run.store.get_record(ref)["callbacks"]
    except (DamagedObject, KeyError):  # retired: only the metrics are left
        return f"{words}."
    for state in states:
        if isinstance(state, Mapping) and state.get("reason"):
            return f"{words}: it diverged ({state['reason']})."
    judge = next((n for n, each in (ends[0].get("metrics") or {}).items() if each["main"]), "loss")
    return f"{words}: the {judge} did not become better any more."


def _row(run: Run, step: Step) -> dict[str, Any]:
    return {
        "label": step.stage.label,
        "name": step.stage.name,
        "ran": ran_here(run, step),
        "reason": step.reason,
    }
