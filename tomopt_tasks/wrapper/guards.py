"""Callbacks that a phase names, and those that end it early or undo its mistakes."""

from collections.abc import Callable, Mapping, Sequence

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.detector import PanelCentring
from tomopt_tasks.callbacks.gradients import NoMoreNaNs
from tomopt_tasks.callbacks.ladle import LinearCorrectionCallback
from tomopt_tasks.callbacks.metrics import CalibratedRMSE, EvalMetric, main_metric
from tomopt_tasks.callbacks.nonfinite import GradientRecord
from tomopt_tasks.callbacks.stopping import BestKeeper, DivergenceGuard, EarlyStopping
from tomopt_tasks.callbacks.warmup import CostCoefWarmup
from tomopt_tasks.core import UserError
from tomopt_tasks.own import build_own
from tomopt_tasks.wrapper.callback_settings import CallbackSettings, OwnCallbackSettings
from tomopt_tasks.wrapper.guard_settings import Guards


def build_judges(
    found: Sequence[CallbackSettings], guards: Guards, before: Sequence[Callback]
) -> list[Callback]:
    """Metrics, and behind them what judges a phase by the main one, or else by the loss.

    A guard that takes a step away stands before the others, so that they judge what is left.

    Args:
        found: what the phase names.
        guards: what watches over it.
        before: callbacks ahead of these, which set the loss.

    Raises:
        UserError: two metrics have one name, or a part of the user's own cannot be made.
    """
    own = build_own_callbacks(found, first=False)
    result: list[Callback] = [each for each in own if isinstance(each, EvalMetric)]
    result += build_callbacks(found, ("calibrated_rmse",))
    _check_names([each for each in (*before, *result) if isinstance(each, EvalMetric)])
    main = main_metric([*before, *result])
    if guards.divergence is not None:
        guard = guards.divergence
        result.append(DivergenceGuard(guard.factor, guard.patience, guard.max_rise))
    if guards.early is not None:
        result.append(EarlyStopping(guards.early.patience, guards.early.min_change, main))
    if any(each.kind == "best_keeper" for each in found):  # a checkpoint can be followed by more
        result.append(BestKeeper(restore=False, metric=main))
    return [*result, *(each for each in own if not isinstance(each, EvalMetric))]


def _check_names(metrics: Sequence[EvalMetric]) -> None:
    names = [metric.name for metric in metrics]
    for number, name in enumerate(names):
        if name in names[:number]:
            text = f"fit.callbacks: two metrics are called {name}, so that nobody could tell them "
            raise UserError(text + "apart; give one another name")


MAKERS: Mapping[str, Callable[..., Callback]] = {
    "gradient_record": lambda found: GradientRecord(found.max_sources, per_epoch=True),
    "cost_coef_warmup": lambda found: CostCoefWarmup(found.epochs),
    "linear_correction": lambda found: LinearCorrectionCallback(None, found.weight, found.bias),
    "no_more_nans": lambda _: NoMoreNaNs(),
    "panel_centring": lambda _: PanelCentring(),
    "calibrated_rmse": lambda found: CalibratedRMSE(main_metric=found.main_metric),
}
"""Callback of each kind that a phase can name, but those that judge it."""


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
