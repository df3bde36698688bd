"""Classes of a volume from the radiation lengths of its voxels (spec 5.5, 5.6)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import avg_pool3d, log_softmax

from tomopt_tasks.inference.exposure import ScatterPiece
from tomopt_tasks.inference.reduced import Scatters
from tomopt_tasks.inference.volume import AbsVolumeInferrer
from tomopt_tasks.kernels import constants

PartialX0Inferrer = Callable[..., Any]
"""Called with the keyword ``volume``; gives an inferrer of radiation lengths."""


class FromX0s(AbsVolumeInferrer):
    """Base of inferrers that look at the radiation lengths that another inferrer predicts.

    Args:
        partial_x0_inferrer: called with the keyword ``volume``.
        volume: the volume that was irradiated.
    """

    def __init__(self, partial_x0_inferrer: PartialX0Inferrer, volume: Any) -> None:
        super().__init__(volume)
        self.x0_inferrer = partial_x0_inferrer(volume=volume)
        self.takes_pieces = bool(getattr(self.x0_inferrer, "takes_pieces", False))

    def add_scatters(self, scatters: Scatters | ScatterPiece) -> None:
        """Hand the scatters on to the inferrer of radiation lengths."""
        self.x0_inferrer.add_scatters(scatters)

    def compute_efficiency(self, scatters: Scatters) -> Float[Tensor, " mu"]:
        """Probability of acceptance, as the inferrer of radiation lengths sees it."""
        efficiency: Tensor = self.x0_inferrer.compute_efficiency(scatters)
        return efficiency

    def _reset_vars(self) -> None:
        self.x0_inferrer._reset_vars()

    @property
    def n_volumes(self) -> int:
        """Number of volumes in the scan."""
        return int(getattr(self.x0_inferrer, "n_volumes", 1))

    def get_predictions(self) -> list[Tensor | None]:
        """One prediction a volume; None where the radiation lengths are None (D-10)."""
        maps: list[Tensor | None] = self.x0_inferrer.get_predictions()
        return [None if x0 is None else self.from_x0s(x0) for x0 in maps]

    def get_prediction(self) -> Tensor | None:
        """The prediction of a scan of one volume; None without any accepted muon."""
        x0: Tensor | None = self.x0_inferrer.get_prediction()
        return None if x0 is None else self.from_x0s(x0)

    def from_x0s(self, x0: Float[Tensor, "z x y"]) -> Tensor:
        """The prediction for one volume from its radiation lengths [m]."""
        raise NotImplementedError


class DenseBlockClassifierFromX0s(FromX0s):
    """Whether a volume holds a block that is denser than the rest, as a number in (0, 1).

    The voxels with the smallest radiation lengths are compared with the others: with the soft cut
    at the quantile ``n_block_voxels / n_voxels``, r = 2 (mean of the others - mean of the block) /
    (their sum), and the prediction is sigmoid(ratio_coef (r + ratio_offset)), shape (1, 1).

    Args:
        n_block_voxels: whole number of voxels of the block; from 1 to all but one (D-09).
        partial_x0_inferrer: called with the keyword ``volume``.
        volume: the volume that was irradiated.
        use_avgpool: average each voxel with its neighbours first.
        cut_coef: sharpness of the cut [1/m]; > 0.
        ratio_offset: added to r.
        ratio_coef: multiplies the result.

    Raises:
        ValueError: ``n_block_voxels`` is not a number of voxels of this volume.
    """

    def __init__(
        self,
        n_block_voxels: float,
        partial_x0_inferrer: PartialX0Inferrer,
        volume: Any,
        use_avgpool: bool = True,  # noqa: FBT001, FBT002
        cut_coef: float = 1e4,
        ratio_offset: float = -1.0,
        ratio_coef: float = 1.0,
    ) -> None:
        super().__init__(partial_x0_inferrer, volume)
        n_z, n_x, n_y = self.shp_zxy
        n_voxels = n_z * n_x * n_y
        if n_block_voxels != int(n_block_voxels) or not 1 <= n_block_voxels < n_voxels:
            raise ValueError(
                f"n_block_voxels = {n_block_voxels} is not a number of voxels from 1 to "
                f"{n_voxels - 1}; give the count of voxels of the block, not its volume"
            )
        self.frac = int(n_block_voxels) / n_voxels
        self.use_avgpool = use_avgpool
        self.cut_coef = cut_coef
        self.ratio_offset = ratio_offset
        self.ratio_coef = ratio_coef

    def from_x0s(self, x0: Float[Tensor, "z x y"]) -> Float[Tensor, "1 1"]:
        """How likely the block is there."""
        values = (mean_3d(x0) if self.use_avgpool else x0).flatten()
        rank = 1 + round(self.frac * (len(values) - 1))
        cut = values.kthvalue(rank).values
        background = torch.sigmoid(self.cut_coef * (values - cut))
        block = torch.sigmoid(self.cut_coef * (cut - values))
        mean_background, mean_block = _mean(values, background), _mean(values, block)
        ratio = 2.0 * (mean_background - mean_block) / (mean_background + mean_block)
        return torch.sigmoid(self.ratio_coef * (ratio + self.ratio_offset))[None, None]


def mean_3d(x0: Float[Tensor, "*batch z x y"]) -> Float[Tensor, "*batch z x y"]:
    """Mean over each voxel and its neighbours in a cube of three; fewer at the border."""
    flat = x0.reshape(-1, 1, *x0.shape[-3:])
    return avg_pool3d(flat, 3, stride=1, padding=1, count_include_pad=False).view(x0.shape)


def _mean(values: Float[Tensor, " n"], weights: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    tiny = torch.finfo(values.dtype).tiny
    return (values * weights).sum() / weights.sum().clamp_min(tiny)


class VoxelClassifierFromX0s(FromX0s):
    """Material of every voxel: the likelier, the nearer its radiation length is to the predicted.

    Args:
        x0s: radiation lengths of the classes [m]; > 0, at least two.
        partial_x0_inferrer: called with the keyword ``volume``.
        volume: the volume that was irradiated.
        width: standard deviation of the logarithm of a predicted radiation length; > 0.
    """

    def __init__(
        self,
        x0s: Sequence[float],
        partial_x0_inferrer: PartialX0Inferrer,
        volume: Any,
        width: float = 0.5,
    ) -> None:
        super().__init__(partial_x0_inferrer, volume)
        self.x0s = tuple(x0s)
        self.width = width

    def from_x0s(self, x0: Float[Tensor, "z x y"]) -> Float[Tensor, "1 cls voxel"]:
        """Log-probabilities of the classes, voxels flattened from (z, x, y)."""
        return voxel_log_probs(x0[None], self.x0s, self.width)


def voxel_log_probs(
    x0: Float[Tensor, "vol z x y"], x0s: Sequence[float], width: float
) -> Float[Tensor, "vol cls voxel"]:
    """Logarithms of the probabilities of classes with normal logarithms of radiation length.

    Args:
        x0: predicted radiation lengths [m]; > 0.
        x0s: those of the classes [m]; > 0.
        width: standard deviation of the logarithms; > 0.
    """
    if len(x0s) < 2 or not all(each > 0 for each in x0s) or not width > 0:
        raise ValueError(f"x0s = {tuple(x0s)} m must be two or more, and width = {width} positive")
    centres = torch.log(constants(tuple(x0s), x0))[None, :, None]
    distance = (torch.log(x0).flatten(1)[:, None] - centres) / width
    return log_softmax(-0.5 * distance**2, 1)


class AbsIntClassifierFromX0(FromX0s):
    """Base of classifiers into consecutive integers.

    Args:
        partial_x0_inferrer: called with the keyword ``volume``.
        volume: the volume that was irradiated.
        output_probs: predict the probabilities of the classes; otherwise the most likely class.
        class2float: (class, volume) -> a number; applied to the most likely class.
    """

    def __init__(
        self,
        partial_x0_inferrer: PartialX0Inferrer,
        volume: Any,
        output_probs: bool = True,  # noqa: FBT001, FBT002
        class2float: Callable[[Tensor, Any], Tensor] | None = None,
    ) -> None:
        super().__init__(partial_x0_inferrer, volume)
        self.output_probs = output_probs
        self.class2float = class2float

    def x02probs(self, vox_preds: Float[Tensor, "z x y"]) -> Float[Tensor, "*batch cls"]:
        """Probabilities of the classes from radiation lengths [m]; classes on the last axis."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method x02probs(vox_preds) of its own"
        )

    def from_x0s(
        self, x0: Float[Tensor, "z x y"]
    ) -> Float[Tensor, "*batch cls"] | Int[Tensor, "*batch"] | Float[Tensor, "*batch"]:
        """Probabilities, the most likely class, or the number that it stands for."""
        probs = self.x02probs(x0)
        if self.output_probs:
            return probs
        best = probs.argmax(-1)
        return best if self.class2float is None else self.class2float(best, self.volume)
