"""Inferrers that look at radiation lengths, and losses of one volume, from their settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tomopt_tasks.callbacks.cost import BatchCost
from tomopt_tasks.core import UserError
from tomopt_tasks.inference.classifiers import DenseBlockClassifierFromX0s, VoxelClassifierFromX0s
from tomopt_tasks.inference.edges import EdgeDetLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.inference.reader import learned_inferrer
from tomopt_tasks.inference.settings import OwnInferenceSettings
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.inference.x0_compat import TomOptX0
from tomopt_tasks.inference.x0_map import UnbiasedX0
from tomopt_tasks.inference.x0_settings import (
    DenseBlockSettings,
    EdgeDetectorSettings,
    UnbiasedX0Settings,
    VoxelClassSettings,
    VoxelX0Settings,
    X0MethodSettings,
)
from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.losses.ladle import LadleFurnaceIntClassLoss
from tomopt_tasks.losses.settings import (
    LadleLayerLossSettings,
    SpreadRangeLossSettings,
    VolumeClassLossSettings,
    VolumeIntClassLossSettings,
    VolumeMSELossSettings,
    VoxelClassLossSettings,
    VoxelX0LossSettings,
)
from tomopt_tasks.losses.volumes import VolumeClassLoss, VolumeIntClassLoss, VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelClassLoss, VoxelX0Loss
from tomopt_tasks.materials import find_material
from tomopt_tasks.own import own_class

X0Settings = (
    VoxelX0Settings
    | VoxelClassSettings
    | DenseBlockSettings
    | EdgeDetectorSettings
    | LearnedSettings
)
VolumeLossSettings = (
    VolumeMSELossSettings
    | VoxelX0LossSettings
    | VoxelClassLossSettings
    | VolumeClassLossSettings
    | VolumeIntClassLossSettings
    | LadleLayerLossSettings
)


def x0_inferrer(settings: X0Settings, *, fitting: bool) -> Any:
    """What a wrapper takes as its volume inferrer.

    Args:
        settings: which.
        fitting: classifiers of volumes give probabilities to a loss, and a number otherwise.
    """
    x0s = partial(PanelX0Inferrer, method=build_method(settings.method))
    if isinstance(settings, DenseBlockSettings):
        return partial(
            DenseBlockClassifierFromX0s,
            settings.voxels,
            x0s,
            use_avgpool=settings.average,
            cut_coef=settings.cut,
            ratio_offset=settings.offset,
            ratio_coef=settings.slope,
        )
    if isinstance(settings, EdgeDetectorSettings):
        return partial(
            EdgeDetLadleFurnaceFillLevelInferrer,
            x0s,
            pipeline=settings.pipeline,
            output_probs=fitting,
        )
    if isinstance(settings, VoxelClassSettings):
        classes = [find_material(name).x0 for name in settings.materials]
        return partial(VoxelClassifierFromX0s, classes, x0s, width=settings.width)
    if isinstance(settings, LearnedSettings):
        return learned_inferrer(settings, x0s, fitting=fitting)
    return x0s


def build_method(settings: X0MethodSettings) -> UnbiasedX0 | TomOptX0:
    """How scattering is turned into radiation lengths."""
    if isinstance(settings, UnbiasedX0Settings):
        return UnbiasedX0(**settings.model_dump())
    return TomOptX0()


def own_inferrer(settings: OwnInferenceSettings) -> Callable[..., Any]:
    """What a wrapper takes as its volume inferrer, made from a class of the user's own.

    Raises:
        UserError: the class is not trusted or not there; when called: it cannot be made.
    """
    made = own_class(settings)

    def build(*, volume: Any) -> Any:
        try:
            return made(volume=volume, **settings.options)
        except (TypeError, ValueError) as error:
            text = "cannot be made with volume and its options"
            raise UserError(f"{settings.part} {text}: {error}") from error

    return build


def volume_loss(settings: VolumeLossSettings) -> AbsDetectorLoss:
    """The loss of one volume; classes and integers are those that the study has filled in."""
    terms: dict[str, Any] = {
        "target_budget": settings.target_budget,
        "budget_smoothing": settings.budget_smoothing,
        "cost_coef": settings.cost_coef,
        "steep_budget": settings.steep_budget,
    }
    if isinstance(settings, VolumeClassLossSettings):
        targets = settings.targets or (0.0, 1.0)
        return VolumeClassLoss(x02id={x: i for i, x in enumerate(targets)}, **terms)
    if isinstance(settings, VoxelClassLossSettings):
        x0s = [find_material(name).x0 for name in settings.materials or ()]
        return VoxelClassLoss(x02id={x0: i for i, x0 in enumerate(x0s)}, **terms)
    if isinstance(settings, VolumeIntClassLossSettings):
        integer = partial(_integer, first=settings.first or 0.0, step=settings.step or 1.0)
        return VolumeIntClassLoss(
            targ2int=integer, pred_int_start=0, use_mse=settings.squared, **terms
        )
    if isinstance(settings, LadleLayerLossSettings):
        return LadleFurnaceIntClassLoss(use_mse=settings.squared, **terms)
    if isinstance(settings, VoxelX0LossSettings):
        return VoxelX0Loss(of=settings.of or "x0", **terms)
    return VolumeMSELoss(**terms)


def batch_cost(settings: SpreadRangeLossSettings | VolumeMSELossSettings) -> list[BatchCost]:
    """What adds the price of the detector to a loss of a batch; nothing without a target."""
    if settings.target_budget is None:
        return []
    numbers = (settings.target_budget, settings.budget_smoothing, settings.cost_coef)
    return [BatchCost(*numbers, steep_budget=settings.steep_budget)]


def _integer(target: Tensor, _volume: Any, first: float, step: float) -> Tensor:
    """The integer of a target: how many steps it lies above the first one."""
    return torch.round((target.double() - first) / step).long()
