"""What the numbers of a network mean: to a loss in a fit, and to an evaluation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import log_softmax, softmax

from tomopt_tasks.inference.classifiers import PartialX0Inferrer, voxel_log_probs
from tomopt_tasks.inference.learned import MODEL, DeepVolumeInferrer, VolumeModel, VolumeNet
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.materials import find_material


@dataclass(frozen=True)
class Reader:
    """A model with the meaning of its numbers.

    Args:
        model: gives numbers (vol, output), or radiation lengths (vol, z, x, y) [m].
        settings: what they mean.
        fitting: classes and integers are probabilities for a loss; otherwise the mean target.
    """

    model: VolumeModel
    settings: LearnedSettings
    fitting: bool

    def __call__(
        self,
        maps: Float[Tensor, "vol channel z x y"],
        muons: Float[Tensor, "vol mu feature"],
        weight: Float[Tensor, "vol mu"],
    ) -> Tensor:
        """What a loss, or an evaluation, takes of each volume.

        Numbers (vol, 1) and radiation lengths (vol, z, x, y) [m] as they are; log-probabilities of
        classes (vol, 1, cls) and of voxels (vol, 1, cls, voxel); probabilities of integers
        (vol, cls).
        """
        found, what = self.model(maps, muons, weight), self.settings.predicts
        if what == "voxel_class":
            x0s = [find_material(name).x0 for name in self.settings.materials]
            return voxel_log_probs(found, x0s, self.settings.class_width)[:, None]
        if what not in ("classes", "integers"):
            return found
        if not self.fitting:
            targets = torch.tensor(self.settings.targets, dtype=found.dtype, device=found.device)
            return softmax(found, 1) @ targets[:, None]
        return log_softmax(found, 1)[:, None] if what == "classes" else softmax(found, 1)


def build_net(settings: LearnedSettings, seed: int) -> VolumeNet:
    """The network before it has learned anything.

    Args:
        settings: its size and task.
        seed: names the stream of the first weights.
    """
    voxels = settings.predicts in ("x0", "voxel_class")
    return VolumeNet(
        output="voxels" if voxels else "volume",
        last=0.0 if voxels else 0.1,
        features=settings.features,
        n_outputs=settings.n_outputs,
        width=settings.width,
        start=settings.start if settings.predicts == "number" else 0.0,
        seed=seed,
    )


def learned_inferrer(
    settings: LearnedSettings, partial_x0_inferrer: PartialX0Inferrer, *, fitting: bool
) -> Callable[..., DeepVolumeInferrer]:
    """What a wrapper takes as its volume inferrer; the volume has the model attached to it."""
    return partial(_inferrer, settings, partial_x0_inferrer, fitting)


def _inferrer(
    settings: LearnedSettings,
    partial_x0_inferrer: PartialX0Inferrer,
    fitting: bool,  # noqa: FBT001
    volume: Any,
) -> DeepVolumeInferrer:
    model = Reader(getattr(volume, MODEL), settings, fitting)
    return DeepVolumeInferrer(volume, model, partial_x0_inferrer, settings.features)
