"""Predictions of a small network that learns together with the detector (spec 5.7).

The network sees the map of radiation lengths and the muons themselves. Attached to a volume with
:func:`attach_model` it belongs to the volume: its parameters are saved, loaded and counted with it,
and an optimiser of any name in the wrapper's ``opts`` trains it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init

from tomopt_tasks.inference.classifiers import PartialX0Inferrer
from tomopt_tasks.inference.exposure import Exposure, ScatterPiece, totals
from tomopt_tasks.inference.measured import MeasuredMuons
from tomopt_tasks.inference.power import angle_noise, power_scale, squared_angle
from tomopt_tasks.inference.reduced import Scatters
from tomopt_tasks.inference.replay import Outputs
from tomopt_tasks.inference.volume import AbsVolumeInferrer
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.inference.x0_map import VoxelGrid
from tomopt_tasks.kernels import constants
from tomopt_tasks.rng import stream

MODEL = "inference_model"
"""Name under which a model is attached to a volume."""


@runtime_checkable
class VolumeModel(Protocol):
    """Any module that predicts volumes from maps and muons."""

    def __call__(
        self,
        maps: Float[Tensor, "vol channel z x y"],
        muons: Float[Tensor, "vol mu feature"],
        weight: Float[Tensor, "vol mu"],
    ) -> Tensor:
        """Predictions with an axis of volumes in front.

        Args:
            maps: logarithm of the radiation length [m] in channel 0.
            muons: features of each muon, see :data:`FEATURES`.
            weight: probability that the muon is accepted.
        """
        ...


def _angle_noise(muons: MeasuredMuons) -> Float[Tensor, " mu"]:
    before, after = muons.before, muons.after
    return angle_noise(before.slope.t(), after.slope.t(), (before.var_slope + after.var_slope).t())


def _power(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 1"]:  # noqa: ARG001
    """Logarithm of the scattering power of the muon, resolution included."""
    noise = _angle_noise(muons)
    angle2 = squared_angle(muons.before.slope.t(), muons.after.slope.t()) + noise
    return torch.log(0.5 * power_scale(muons.momentum) * angle2 + 1e-9)[:, None] / 5.0


def _noise(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 1"]:  # noqa: ARG001
    noise = _angle_noise(muons)
    return torch.log(0.5 * power_scale(muons.momentum) * noise + 1e-9)[:, None] / 5.0


def _delta_angles(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 2"]:  # noqa: ARG001
    return 100.0 * (torch.atan(muons.after.slope) - torch.atan(muons.before.slope))


def _track_angles(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 4"]:  # noqa: ARG001
    return torch.atan(torch.cat([muons.before.slope, muons.after.slope], 1))


def _track_xy(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 4"]:
    bottom = muons.after.at(muons.before.z - grid.height)
    widths = grid.size * constants((*grid.shape[1:], *grid.shape[1:]), muons.before.offset)
    return _squash(torch.cat([muons.before.offset, bottom.offset], 1) / widths)


def _poca(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 3"]:
    n_z, n_x, n_y = grid.shape
    low = constants((0.0, 0.0, grid.z_low), muons.poca.xyz)
    extent = grid.size * constants((n_x, n_y, n_z), muons.poca.xyz)
    return _squash((muons.poca.xyz - low) / extent)


def _poca_unc(muons: MeasuredMuons, grid: VoxelGrid) -> Float[Tensor, "mu 3"]:
    return torch.log(muons.poca.sigma / grid.size + 1e-3) / 5.0


def _squash(fraction: Tensor) -> Tensor:
    """Positions in units of the volume, -1 to 1 inside it, bounded by 3 far outside."""
    return 3.0 * torch.tanh((2.0 * fraction - 1.0) / 3.0)


FEATURES: Mapping[str, tuple[int, Callable[[MeasuredMuons, VoxelGrid], Tensor]]] = {
    "total_scatter": (1, _power),
    "resolution": (1, _noise),
    "delta_angles": (2, _delta_angles),
    "track_angles": (4, _track_angles),
    "track_xy": (4, _track_xy),
    "poca": (3, _poca),
    "poca_unc": (3, _poca_unc),
}
"""Name of a group of muon features -> how many, and their function; all are of order one."""

DEFAULT_FEATURES = ("total_scatter", "resolution", "poca", "poca_unc")


@runtime_checkable
class PoolingModel(VolumeModel, Protocol):
    """A model that sees muons through a weighted mean alone, so that they may come in pieces."""

    def pooled(
        self, muons: Float[Tensor, "vol mu feature"], weight: Float[Tensor, "vol mu"]
    ) -> Float[Tensor, "vol width"]:
        """Weighted sum over muons of what each of them adds."""
        ...

    def from_pooled(
        self, maps: Float[Tensor, "vol channel z x y"], pooled: Float[Tensor, "vol width"]
    ) -> Tensor:
        """Predictions from maps and from :meth:`pooled` with weights that add up to one."""
        ...


class VolumeNet(nn.Module):
    """Convolutions over the map, a mean over muons, a few layers on top; a few thousand weights.

    Args:
        output: ``volume``: ``n_outputs`` numbers; ``voxels``: a factor on the radiation length of
            each voxel, which is one before training.
        features: groups of :data:`FEATURES` that the muons come with.
        n_outputs: numbers to predict; read for ``volume`` only.
        width: channels of the hidden layers.
        start: prediction before training; read for ``volume`` only.
        seed: names the stream of the first weights.
        last: factor on the first weights of the last layer. Zero: all volumes are predicted alike
            before training, from where losses that calibrate predictions see no slope.
    """

    def __init__(
        self,
        output: Literal["volume", "voxels"] = "volume",
        features: Sequence[str] = DEFAULT_FEATURES,
        n_outputs: int = 1,
        width: int = 16,
        start: float = 0.0,
        seed: int = 0,
        last: float = 0.0,
    ) -> None:
        super().__init__()
        self.output = output
        n_features = sum(FEATURES[name][0] for name in features)
        self.from_muons = nn.Sequential(
            _linear(n_features, width), nn.SiLU(), _linear(width, width)
        )
        self.from_map = nn.Sequential(_conv(1, width), nn.SiLU(), _conv(width, width), nn.SiLU())
        n_last = 1 if output == "voxels" else n_outputs
        self.head = nn.Sequential(_linear(2 * width, width), nn.SiLU(), _linear(width, n_last))
        self._draw_weights(seed, start if output == "volume" else 0.0, last)

    @torch.no_grad()
    def _draw_weights(self, seed: int, start: float, last: float) -> None:
        for name, parameter in self.named_parameters():
            rng = stream(seed, "volume net", name, device=parameter.device)
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            bound = 0.0 if parameter.ndim == 1 else (3.0 / fan_in) ** 0.5
            parameter.uniform_(-bound, bound, generator=rng)
        *_, (_, weight), (_, bias) = self.head.named_parameters()
        weight.mul_(last)
        bias.fill_(start)

    def forward(
        self,
        maps: Float[Tensor, "vol channel z x y"],
        muons: Float[Tensor, "vol mu feature"],
        weight: Float[Tensor, "vol mu"],
    ) -> Tensor:
        """Numbers (vol, n_outputs), or radiation lengths (vol, z, x, y) [m]."""
        share = weight / weight.sum(1, keepdim=True).clamp_min(1e-30)
        return self.from_pooled(maps, self.pooled(muons, share))

    def pooled(
        self, muons: Float[Tensor, "vol mu feature"], weight: Float[Tensor, "vol mu"]
    ) -> Float[Tensor, "vol width"]:
        """What muons add up to."""
        total: Tensor = (weight[..., None] * self.from_muons(muons)).sum(1)
        return total

    def from_pooled(
        self, maps: Float[Tensor, "vol channel z x y"], pooled: Float[Tensor, "vol width"]
    ) -> Tensor:
        """Predictions from the weighted mean of what muons add."""
        image = self.from_map(maps[:, :1])
        if self.output == "volume":
            found: Tensor = self.head(torch.cat([pooled, image.mean((2, 3, 4))], 1))
            return found
        context = pooled[:, :, None, None, None].expand(-1, -1, *image.shape[2:])
        factor = self.head(torch.cat([image, context], 1).movedim(1, -1))[..., 0]
        return torch.exp(maps[:, 0] + factor)


class DeepVolumeInferrer(AbsVolumeInferrer):
    """Asks a model for its predictions.

    Args:
        volume: the volume that was irradiated.
        model: the model; None: the one attached to the volume.
        partial_x0_inferrer: gives the inferrer of the map, which also selects and weighs muons.
        features: groups of :data:`FEATURES` for each muon.

    Raises:
        ValueError: there is no model, or an unknown group of features.
    """

    def __init__(
        self,
        volume: Any,
        model: VolumeModel | None = None,
        partial_x0_inferrer: PartialX0Inferrer = PanelX0Inferrer,
        features: Sequence[str] = DEFAULT_FEATURES,
    ) -> None:
        super().__init__(volume)
        found = getattr(volume, MODEL, None) if model is None else model
        if found is None:
            raise ValueError("no model: call attach_model(volume, model) or give model=")
        unknown = sorted(set(features) - set(FEATURES))
        if unknown:
            raise ValueError(f"unknown muon features {unknown}; there are {sorted(FEATURES)}")
        self.model: VolumeModel = found
        self.features = tuple(features)
        self.x0_inferrer = partial_x0_inferrer(volume=volume)
        self.takes_pieces = isinstance(found, PoolingModel) and bool(
            getattr(self.x0_inferrer, "takes_pieces", False)
        )

    def add_scatters(self, scatters: Scatters | ScatterPiece) -> None:
        """Take one more batch of scatters."""
        self.x0_inferrer.add_scatters(scatters)

    @property
    def n_volumes(self) -> int:
        """Number of volumes in the scan."""
        return int(self.x0_inferrer.n_volumes)

    def get_predictions(self) -> list[Tensor | None]:
        """What the model says of each volume; None where no muon was accepted."""
        maps = self.x0_inferrer.get_predictions()
        seen = [x0 for x0 in maps if x0 is not None]
        if not seen:
            return [None for _ in maps]
        blank = torch.ones_like(seen[0])
        stacked = torch.stack([blank if x0 is None else x0 for x0 in maps])
        found = self._predicted(torch.log(stacked)[:, None], self.x0_inferrer.measured)
        return [None if x0 is None else row for x0, row in zip(maps, found, strict=True)]

    def _predicted(self, maps: Tensor, muons: MeasuredMuons | Exposure[MeasuredMuons]) -> Tensor:
        """What the model says, with an axis of volumes in front."""
        model = self.model
        if not isinstance(muons, Exposure):
            return model(maps, self._features(muons), muons.per_volume(muons.weight))
        assert isinstance(model, PoolingModel)

        def step(some: MeasuredMuons, _: Sequence[Outputs]) -> Outputs:
            weight = some.per_volume(some.weight)
            return model.pooled(self._features(some), weight), weight.sum(1, keepdim=True)

        ((pooled, total),) = totals(muons, step)
        return model.from_pooled(maps, pooled / total.clamp_min(1e-30))

    def _features(self, muons: MeasuredMuons) -> Float[Tensor, "vol mu feature"]:
        grid = self.x0_inferrer.grid
        rows = torch.cat([FEATURES[name][1](muons, grid) for name in self.features], 1)
        return muons.per_volume(rows)

    def get_prediction(self) -> Tensor | None:
        """The prediction of a scan of one volume; None without any accepted muon."""
        found = self.get_predictions()
        if len(found) > 1:
            raise ValueError(f"the scan holds {len(found)} volumes; use get_predictions")
        return found[0] if found else None


def attach_model(volume: nn.Module, model: nn.Module) -> nn.Module:
    """Make a model part of a volume, in the volume's precision and place; gives the model.

    Args:
        volume: will save, load and count the model's parameters with its own.
        model: a :class:`VolumeModel`.
    """
    reference = next(volume.parameters())
    model.to(device=reference.device, dtype=reference.dtype)
    volume.add_module(MODEL, model)
    return model


def _linear(n_in: int, n_out: int) -> nn.Linear:
    layer: nn.Linear = skip_init(nn.Linear, n_in, n_out)
    return layer


def _conv(n_in: int, n_out: int) -> nn.Conv3d:
    layer: nn.Conv3d = skip_init(nn.Conv3d, n_in, n_out, 3, padding=1)
    return layer
