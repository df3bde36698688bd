"""Callbacks that end a phase early or undo its mistakes, from their settings."""

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.stopping import DivergenceGuard, EarlyStopping
from tomopt_tasks.wrapper.guard_settings import Guards


def build_guards(guards: Guards) -> list[Callback]:
    """The callbacks of a phase, in the order in which they must run: after those that set the loss.

    A guard that takes a step away stands first, so that the others judge what is left.
    """
    result: list[Callback] = []
    if guards.divergence is not None:
        found = guards.divergence
        result.append(DivergenceGuard(found.factor, found.patience, found.max_rise))
    if guards.early is not None:
        result.append(EarlyStopping(guards.early.patience, guards.early.min_change))
    return result
