"""Whether the callbacks of each phase have what they work on; each failure names one place."""

from tomopt_tasks.config.paths import Path
from tomopt_tasks.config.problems import Problem
from tomopt_tasks.inference.settings import InferenceSettings, predicted
from tomopt_tasks.losses.settings import LossSettings
from tomopt_tasks.wrapper.settings import FitSettings, Phase

OF_NUMBERS = ("volume_mse", "spread_range", "expected_mse", "own")
"""Losses that compare a predicted number with the target of its volume."""

OF_LINES = ("linear_correction", "calibrated_rmse")
"""Callbacks that fit a straight line from predictions to targets."""


def check_callbacks(fit: FitSettings, loss: LossSettings, inference: InferenceSettings) -> None:
    """Kinds stand once and find what they work on, and somebody looks where it is watched.

    Args:
        fit: with complete phases.
        loss: what the fit minimises.
        inference: what the loss judges.

    Raises:
        Problem: at the place of the first entry that is wrong.
    """
    for index, phase in enumerate(fit.phases):
        path: Path = ("fit", "phases", index)
        _check_kinds(phase, loss, path)
        for number, each in enumerate(phase.callbacks):
            here: Path = (*path, "callbacks", number, "kind")
            if each.kind in OF_LINES:
                _check_number(each.kind, loss, inference, here)
            if each.kind == "linear_correction" and fit.multi_start is not None:
                text = 'got "linear_correction" together with fit.multi_start, whose halvings '
                text += "judge predictions that no line has corrected; leave out either"
                raise Problem(here, text)
        if phase.watch == "valid" and fit.multi_start is not None:
            text = "got valid together with fit.multi_start, whose halvings look at those volumes "
            raise Problem((*path, "watch"), text + "themselves; write train or leave out either")
        if phase.watch == "valid" and inference.kind == "learned":
            text = "got valid, but a network of inference.kind learned is trained for every design "
            raise Problem((*path, "watch"), text + "alike, by the training volumes; write train")


def _check_kinds(phase: Phase, loss: LossSettings, path: Path) -> None:
    kinds = [each.kind for each in phase.callbacks]
    for number, kind in enumerate(kinds):
        here: Path = (*path, "callbacks", number, "kind")
        if kind != "own" and kind in kinds[:number]:
            raise Problem(here, f'got "{kind}" a second time; remove it')
        if kind == "cost_coef_warmup":
            _check_cost(loss, here)


def _check_number(kind: str, loss: LossSettings, inference: InferenceSettings, here: Path) -> None:
    """There is a number a volume that a line can correct."""
    if predicted(inference) != "number" or loss.kind not in OF_NUMBERS:
        text = f'got "{kind}", but inference.kind {inference.kind} with loss.kind {loss.kind} '
        raise Problem(
            here, text + "does not predict the target of a volume as one number; remove it"
        )


def _check_cost(loss: LossSettings, here: Path) -> None:
    """The loss of each volume has a cost term without a weight."""
    by_batch = loss.kind == "spread_range" or (loss.kind == "volume_mse" and loss.correct)
    if not hasattr(loss, "target_budget") or by_batch:
        text = f"loss.kind {loss.kind} is no loss of one volume with a cost term, which is what "
        text += "cost_coef_warmup sets the weight of; remove it"
        if loss.kind == "volume_mse":
            text += " or write loss.correct: false"
        raise Problem(here, text)
    free = getattr(loss, "target_budget", None) is None
    if free or getattr(loss, "cost_coef", None) is not None:
        said = "without a target_budget" if free else "with a cost_coef"
        text = f"the loss is {said}, so that there is no weight to find; "
        cure = "add loss.target_budget" if free else "remove loss.cost_coef"
        raise Problem(here, f"{text}{cure} or remove the warm-up")
