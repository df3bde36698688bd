"""Fill level of a furnace from the edge in the radiation lengths of its layers (spec 5.8)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from tomopt_tasks.inference.classifiers import AbsIntClassifierFromX0, PartialX0Inferrer, mean_3d
from tomopt_tasks.kernels import constants

Step = Callable[[Tensor], Tensor]
Profile = Float[Tensor, "*batch z"]
Voxels = Float[Tensor, "*batch z x y"]

DEFAULT_PIPELINE = (
    "remove_ladle",
    "avg_3d",
    "avg_layers",
    "avg_1d",
    "ridge_1d_0",
    "negative",
    "max_div_min",
)


def remove_ladle(x0: Voxels) -> Float[Tensor, "*batch inner_z inner_x inner_y"]:
    """Without the floor and the outer ring of each layer."""
    return x0[..., 1:, 1:-1, 1:-1]


def gauss_3d(x0: Voxels) -> Voxels:
    """Binomial mean of 3 x 3 x 3 voxels; border voxels are repeated."""
    line = constants((0.25, 0.5, 0.25), x0)
    kernel = line[:, None, None] * line[:, None] * line
    flat = functional.pad(x0.reshape(-1, 1, *x0.shape[-3:]), [1] * 6, mode="replicate")
    return functional.conv3d(flat, kernel[None, None]).view(x0.shape)


def avg_layers(x0: Voxels) -> Profile:
    """Mean of each layer."""
    return x0.mean((-2, -1))


def avg_1d(profile: Profile) -> Profile:
    """Mean of each layer and its neighbours; two at the ends."""
    flat = profile.reshape(-1, 1, profile.shape[-1])
    pooled = functional.avg_pool1d(flat, 3, stride=1, padding=1, count_include_pad=False)
    return pooled.view(profile.shape)


def correlate(profile: Profile, kernel: Sequence[float]) -> Profile:
    """Correlation with three weights; the end layers are repeated. Keeps all axes (D-39)."""
    weights = constants(tuple(kernel), profile)
    flat = functional.pad(profile.reshape(-1, 1, profile.shape[-1]), [1, 1], mode="replicate")
    return functional.conv1d(flat, weights[None, None]).view(profile.shape)


def _highest(profile: Profile) -> Profile:
    flat = profile.reshape(-1, 1, profile.shape[-1])
    return functional.max_pool1d(flat, 3, stride=1, padding=1).view(profile.shape)


def max_sub_min(profile: Profile) -> Profile:
    """Largest minus smallest of each layer and its neighbours."""
    return _highest(profile) + _highest(-profile)


def max_div_min(profile: Profile) -> Profile:
    """Largest over smallest of each layer and its neighbours."""
    return _highest(profile) / -_highest(-profile)


def _correlation(*kernel: float) -> Step:
    return lambda profile: correlate(profile, kernel)


STEPS: Mapping[str, Step] = {
    "remove_ladle": remove_ladle,
    "avg_3d": mean_3d,
    "gauss_3d": gauss_3d,
    "avg_layers": avg_layers,
    "avg_1d": avg_1d,
    "gauss_1d": _correlation(0.25, 0.5, 0.25),
    "ridge_1d_0": _correlation(-1.0, 0.0, -1.0),
    "ridge_1d_2": _correlation(-1.0, 2.0, -1.0),
    "ridge_1d_4": _correlation(-1.0, 4.0, -1.0),
    "ridge_1d_8": _correlation(-1.0, 8.0, -1.0),
    "prewit_1d": _correlation(-1.0, 0.0, 1.0),
    "laplacian_1d": _correlation(1.0, -4.0, 1.0),
    "negative": torch.neg,
    "max_sub_min": max_sub_min,
    "max_div_min": max_div_min,
}
"""Name of each step of a pipeline -> what it does."""


class EdgeDetLadleFurnaceFillLevelInferrer(AbsIntClassifierFromX0):
    """Probabilities of the layers in which the fill may end.

    Args:
        partial_x0_inferrer: called with the keyword ``volume``.
        volume: the volume that was irradiated.
        pipeline: names of :data:`STEPS`, applied in turn to the radiation lengths.
        add_batch_dim: put an axis in front before the first step and remove it after the last.
        output_probs: predict the probabilities; otherwise the fill height [m].

    Raises:
        ValueError: the pipeline names an unknown step.
    """

    def __init__(
        self,
        partial_x0_inferrer: PartialX0Inferrer,
        volume: Any,
        pipeline: Sequence[str] = DEFAULT_PIPELINE,
        add_batch_dim: bool = True,  # noqa: FBT001, FBT002
        output_probs: bool = True,  # noqa: FBT001, FBT002
    ) -> None:
        super().__init__(partial_x0_inferrer, volume, output_probs, level_of_class)
        unknown = sorted(set(pipeline) - set(STEPS))
        if unknown:
            raise ValueError(f"pipeline has unknown steps {unknown}; there are {sorted(STEPS)}")
        self.pipeline = tuple(pipeline)
        self.add_batch_dim = add_batch_dim

    def x02probs(self, vox_preds: Float[Tensor, "z x y"]) -> Float[Tensor, " cls"]:
        """Probabilities of the layers above the floor, lowest first."""
        values = vox_preds[None] if self.add_batch_dim else vox_preds
        for name in self.pipeline:
            values = STEPS[name](values)
        return torch.softmax(values[0] if self.add_batch_dim else values, dim=-1)


def level_of_class(layer: Tensor, volume: Any) -> Tensor:
    """Height of the top of a layer above the floor [m].

    Args:
        layer: 0 is the first layer above the floor.
        volume: the volume that was irradiated.
    """
    z_low: float = volume.z_range[0]
    return (layer + 1) * float(volume.passive_size) + z_low
