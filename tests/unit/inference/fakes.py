"""The least that inference needs of a volume and of muons, and ways to make scatter batches."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tomopt_tasks.detectors.hits import Lines, PanelStack, measure
from tomopt_tasks.inference.scatters import ScatterBatch, SideRecord
from tomopt_tasks.rng import stream

F64 = torch.float64


@dataclass
class FakeVolume:
    """Geometry, a truth and a cost."""

    lw: Tensor = field(default_factory=lambda: torch.tensor([1.0, 1.0], dtype=F64))
    passive_size: float = 0.1
    n_layers: int = 6
    z_low: float = 0.2
    target: Any = None
    rad_cube: Any = None
    cost: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=F64))

    @property
    def device(self) -> torch.device:
        return self.lw.device

    @property
    def z_high(self) -> float:
        return self.z_low + self.n_layers * self.passive_size

    def get_passives(self) -> list[int]:
        return list(range(self.n_layers))

    def get_passive_z_range(self) -> tuple[Tensor, Tensor]:
        return torch.tensor([self.z_low], dtype=F64), torch.tensor([self.z_high], dtype=F64)

    @property
    def z_range(self) -> tuple[float, float]:
        return self.z_low, self.z_high

    @property
    def shape(self) -> tuple[int, int, int]:
        n_x, n_y = (round(float(width) / self.passive_size) for width in self.lw)
        return self.n_layers, n_x, n_y

    def get_rad_cube(self) -> Tensor:
        return self.rad_cube

    def get_cost(self) -> Tensor:
        return self.cost


@dataclass
class FakeMuons:
    """Hits of one exposure and the momenta of its muons."""

    records: dict[str, SideRecord]
    reco_mom: Tensor
    n_volumes: int = 1


def panel_stack(heights, xy=(0.5, 0.5), span=2.0, res=1e4, eff=0.9, smooth=None) -> PanelStack:
    """Panels of one kind at the given heights."""
    n = len(heights)
    return PanelStack(
        xy=torch.tensor([list(xy)] * n, dtype=F64),
        z=torch.tensor(heights, dtype=F64),
        span=torch.full((n, 2), span, dtype=F64),
        resolution=torch.full((n,), res, dtype=F64),
        efficiency=torch.full((n,), eff, dtype=F64),
        smooth=None if smooth is None else torch.full((n,), smooth, dtype=F64),
    )


def side(state: Tensor, columns: slice, z: float, panels: PanelStack, names, *, hard: bool):
    """Hits of one side on known lines."""
    rows = state.flatten(0, 1)[:, columns]
    lines = Lines(offset=rows[:, :2], slope=rows[:, 2:], z=z)
    shape = (len(rows), len(panels.z), 2)
    noise = torch.randn(shape, generator=stream(1, *names), dtype=F64).to(rows)
    return SideRecord(lines, measure(lines, panels, noise, hard=hard))


def irradiate(
    state, volume, above, below, *, hard=False, seed="hits", policy="two_each_side", fiducial=None
):
    """A scatter batch of a bank (vol, mu, 9) measured by panels above and below."""
    records = {
        "above": side(state, slice(0, 4), volume.z_high, above, (seed, "above"), hard=hard),
        "below": side(state, slice(4, 8), volume.z_low, below, (seed, "below"), hard=hard),
    }
    mu = FakeMuons(records, state.flatten(0, 1)[:, 8], n_volumes=len(state))
    return ScatterBatch(mu, volume, policy, fiducial=fiducial)


def kinked_muons(
    n_muons: int, volume: FakeVolume, where=None, width: float = 0.01, n_volumes: int = 1
) -> Tensor:
    """Muons that change direction at one point each: a bank whose PoCAs are known.

    Args:
        n_muons: muons a volume.
        volume: the box.
        where: (mu, 3) points of the kinks; None: uniform in the box.
        width: standard deviation of the change of slope per axis.
        n_volumes: volumes.
    """
    rng = stream(1, "kinks", n_muons, n_volumes)
    shape = (n_volumes, n_muons)
    low = torch.tensor([0.0, 0.0, volume.z_low], dtype=F64)
    high = torch.tensor([*volume.lw.tolist(), volume.z_high], dtype=F64)
    point = low + (high - low) * torch.rand((*shape, 3), generator=rng, dtype=F64)
    point = point if where is None else where.expand_as(point)
    slope = 0.3 * torch.randn((*shape, 2), generator=rng, dtype=F64)
    after = slope + width * torch.randn((*shape, 2), generator=rng, dtype=F64)
    top = point[..., :2] - slope * (volume.z_high - point[..., 2:])
    bottom = point[..., :2] + after * (point[..., 2:] - volume.z_low)
    momentum = torch.full((*shape, 1), 5.0, dtype=F64)
    return torch.cat([top, slope, bottom, after, momentum], -1)


ABOVE = (1.0, 0.95, 0.9, 0.85)
BELOW = (0.15, 0.1, 0.05, 0.0)
