"""Callbacks that a phase names, and those that end it early or undo its mistakes."""

from collections.abc import Callable, Mapping, Sequence

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.detector import PanelCentring
from tomopt_tasks.callbacks.gradients import NoMoreNaNs
from tomopt_tasks.callbacks.ladle import LinearCorrectionCallback
from tomopt_tasks.callbacks.nonfinite import GradientRecord
from tomopt_tasks.callbacks.stopping import BestKeeper, DivergenceGuard, EarlyStopping
from tomopt_tasks.callbacks.warmup import CostCoefWarmup
from tomopt_tasks.core import UserError
from tomopt_tasks.own import build_own
from tomopt_tasks.wrapper.callback_settings import CallbackSettings, OwnCallbackSettings
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


MAKERS: Mapping[str, Callable[..., Callback]] = {
    "gradient_record": lambda found: GradientRecord(found.max_sources, per_epoch=True),
    "cost_coef_warmup": lambda found: CostCoefWarmup(found.epochs),
    "linear_correction": lambda found: LinearCorrectionCallback(None, found.weight, found.bias),
    "no_more_nans": lambda _: NoMoreNaNs(),
    "panel_centring": lambda _: PanelCentring(),
    "best_keeper": lambda _: BestKeeper(restore=False),  # a checkpoint can be followed by more
}
"""Callback of each kind that a phase can name."""


def build_callbacks(found: Sequence[CallbackSettings], kinds: Sequence[str]) -> list[Callback]:
    """The callbacks of some kinds, in the order of the kinds; each kind once."""
    return [
        MAKERS[kind](next(each for each in found if each.kind == kind))
        for kind in kinds
        if any(each.kind == kind for each in found)
    ]


def build_own_callbacks(found: Sequence[CallbackSettings], *, first: bool) -> list[Callback]:
    """Those of the user's own that run before, or after, those of the package.

    Raises:
        UserError: a class is not trusted, cannot be made, or is no callback.
    """
    result = []
    for each in found:
        if isinstance(each, OwnCallbackSettings) and each.first == first:
            callback = build_own(each)
            if not isinstance(callback, Callback):
                text = "is no callback; derive it from tomopt_tasks.Callback"
                raise UserError(f"{each.part} {text}")
            result.append(callback)
    return result
