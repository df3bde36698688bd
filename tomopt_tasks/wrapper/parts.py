"""Inferrers that look at radiation lengths, and losses of one volume, from their settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

from tomopt_tasks.core import UserError
from tomopt_tasks.inference.classifiers import DenseBlockClassifierFromX0s
from tomopt_tasks.inference.edges import EdgeDetLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.settings import OwnInferenceSettings, VoxelX0Settings
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.inference.x0_settings import DenseBlockSettings, EdgeDetectorSettings
from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.losses.ladle import LadleFurnaceIntClassLoss
from tomopt_tasks.losses.settings import (
    LadleLayerLossSettings,
    VolumeClassLossSettings,
    VolumeMSELossSettings,
    VoxelX0LossSettings,
)
from tomopt_tasks.losses.volumes import VolumeClassLoss, VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.own import own_class

X0Settings = VoxelX0Settings | DenseBlockSettings | EdgeDetectorSettings
VolumeLossSettings = (
    VolumeMSELossSettings | VoxelX0LossSettings | VolumeClassLossSettings | LadleLayerLossSettings
)


def x0_inferrer(settings: X0Settings, *, fitting: bool) -> Any:
    """What a wrapper takes as its volume inferrer.

    Args:
        settings: which.
        fitting: the edge detector gives probabilities of layers to a loss, and a height otherwise.
    """
    if isinstance(settings, DenseBlockSettings):
        return partial(
            DenseBlockClassifierFromX0s,
            settings.voxels,
            PanelX0Inferrer,
            use_avgpool=settings.average,
            cut_coef=settings.cut,
            ratio_offset=settings.offset,
            ratio_coef=settings.slope,
        )
    if isinstance(settings, EdgeDetectorSettings):
        return partial(
            EdgeDetLadleFurnaceFillLevelInferrer,
            PanelX0Inferrer,
            pipeline=settings.pipeline,
            output_probs=fitting,
        )
    return PanelX0Inferrer


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
    """The loss of one volume."""
    terms: dict[str, Any] = {
        "target_budget": settings.target_budget,
        "budget_smoothing": settings.budget_smoothing,
        "cost_coef": settings.cost_coef,
        "steep_budget": settings.steep_budget,
    }
    if isinstance(settings, VolumeClassLossSettings):
        return VolumeClassLoss(x02id={settings.targets[0]: 0, settings.targets[1]: 1}, **terms)
    if isinstance(settings, LadleLayerLossSettings):
        return LadleFurnaceIntClassLoss(use_mse=settings.squared, **terms)
    return (VolumeMSELoss if isinstance(settings, VolumeMSELossSettings) else VoxelX0Loss)(**terms)
