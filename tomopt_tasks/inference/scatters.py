"""Tracks, points of closest approach and angles of a batch of muons (spec 5.1, 5.2)."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.detectors.hits import Hits, Lines
from tomopt_tasks.inference import variables
from tomopt_tasks.inference.acceptance import AcceptancePolicy, acceptance
from tomopt_tasks.inference.hit_views import HitViews
from tomopt_tasks.inference.poca import Poca, cross_squared, find_poca
from tomopt_tasks.inference.tracks import TRACK_FITS, TrackFit
from tomopt_tasks.kernels import kernel

MAX_EXTRAPOLATION = 10.0
"""Tracks that enter or leave further out than this many widths of the volume are dropped."""
MAX_SLOPE = 1e5
"""Tracks steeper than this count as horizontal."""
SIDES = ("above", "below")


class SideRecord(NamedTuple):
    """What one side of the detector measured."""

    lines: Lines
    hits: Hits


class ScatterBatch(HitViews):
    """Scatters of a batch of muons; each variable is computed once, when it is asked for.

    Public variables hold one row per *kept* muon (``valid``); the batch of muons itself is left
    alone. Each ``<name>`` has ``<name>_unc``, the standard deviation from the full covariance of
    the track fits; both carry gradients to the detector.

    Args:
        mu: muons that have crossed the whole volume and hold its hits.
        volume: the volume, for its passive range and width.
        policy: which muons count as accepted.
        track_fit: how lines are fitted to hits.
        fiducial: cut in software: only muons whose tracks enter and leave the passive volume within
            this distance of its axis, along x and along y, count [m]; None: no cut. The cut itself
            has no gradient.

    Raises:
        ValueError: hits are missing above or below, or a side has fewer than two panels (D-43).
    """

    def __init__(
        self,
        mu: Any,
        volume: Any,
        policy: AcceptancePolicy = "two_each_side",
        track_fit: TrackFit = "centred",
        fiducial: float | None = None,
    ) -> None:
        self.mu = mu
        self.volume = volume
        self.policy: AcceptancePolicy = policy
        self.fiducial = fiducial
        self.n_volumes: int = getattr(mu, "n_volumes", 1)
        records = self._records()
        for side in SIDES:
            n_panels = records[side].hits.efficiency.shape[1] if side in records else 0
            if n_panels < 2:
                raise ValueError(
                    f"{n_panels} panels measured {side!r} the passive volume; a track needs at "
                    "least two: add panels or a detector layer at that position"
                )
        self.above, self.below = records["above"], records["below"]
        self.tracks_in = TRACK_FITS[track_fit](*self.above)
        self.tracks_out = TRACK_FITS[track_fit](*self.below)

    def _records(self) -> dict[str, SideRecord]:
        return {side: SideRecord(*record) for side, record in self.mu.records.items()}

    def __len__(self) -> int:
        """Number of muons kept."""
        return int(self.valid.sum())

    @cached_property
    def accepted(self) -> Float[Tensor, " mu"]:
        """Probability of acceptance of every muon, kept or not."""
        seen = acceptance(self.above.hits.efficiency, self.below.hits.efficiency, self.policy)
        return seen if self.fiducial is None else seen * self._within(self.fiducial).to(seen)

    def _within(self, reach: float) -> Bool[Tensor, " mu"]:
        """Which tracks enter at the top and leave at the bottom within a distance of the axis."""
        z_low, z_high = self.volume.z_range
        middle = 0.5 * self.volume.lw
        crossings = (self.tracks_in.at(z_high), self.tracks_out.at(z_low))
        off = [(track.offset.detach() - middle).abs() for track in crossings]
        return (torch.cat(off, 1) <= reach).all(1)

    @cached_property
    def poca(self) -> Poca:
        """Points of closest approach of every muon, kept or not."""
        return find_poca(self.tracks_in, self.tracks_out)

    @cached_property
    def valid(self) -> Bool[Tensor, " mu"]:
        """Which muons are kept (spec 5.1, filter)."""
        z_low, z_high = self.volume.z_range
        ends = (self.tracks_in.at(z_high), self.tracks_out.at(z_low))
        top, bottom = (of.offset.detach().t() for of in ends)
        slopes = (of.slope.detach().t() for of in (self.tracks_in, self.tracks_out))
        seen = self.tracks_in.valid & self.tracks_out.valid & (self.accepted.detach() > 0)
        return _kept(top, bottom, *slopes, seen, MAX_EXTRAPOLATION * self.volume.lw)[0]

    @cached_property
    def _parameters(self) -> Float[Tensor, "mu 8"]:
        """Entry x, y, slopes at the top; exit x, y, slopes at the bottom; kept muons only."""
        z_low, z_high = self.volume.z_range
        top, bottom = self.tracks_in.at(z_high), self.tracks_out.at(z_low)
        rows = torch.cat([top.offset, top.slope, bottom.offset, bottom.slope], 1)
        return rows[self.valid]

    @cached_property
    def _covariance(self) -> tuple[Tensor, Tensor, Tensor]:
        """Variances of offsets, covariances, variances of slopes: x, y in, x, y out (mu, 4)."""
        z_low, z_high = self.volume.z_range
        top, bottom = self.tracks_in.at(z_high), self.tracks_out.at(z_low)
        pick = self.valid
        return (
            torch.cat([top.var_offset, bottom.var_offset], 1)[pick],
            torch.cat([top.cov, bottom.cov], 1)[pick],
            torch.cat([top.var_slope, bottom.var_slope], 1)[pick],
        )

    def value(self, name: str) -> Float[Tensor, "mu var"]:
        """A variable of :mod:`.variables` for the kept muons."""
        return self._function(name)(self._parameters)

    def uncertainty(self, name: str) -> Float[Tensor, "mu var"]:
        """Standard deviation of a variable by linear propagation of the track covariances.

        Muons are independent, so one backward pass a component gives every muon's derivatives
        (D-08). Works without a surrounding graph, too (D-56).
        """
        function = self._function(name)
        tracked = torch.is_grad_enabled() and self._parameters.requires_grad
        with torch.enable_grad():
            inputs = self._parameters if tracked else self._parameters.detach().requires_grad_()
            result = function(inputs)
            rows = [
                torch.autograd.grad(column.sum(), inputs, create_graph=tracked, retain_graph=True)[
                    0
                ]
                for column in result.unbind(1)
            ]
        jacobian = torch.stack(rows, 1)
        return torch.sqrt(self._quadratic(jacobian).clamp_min(0.0) + 1e-30)

    def _function(self, name: str) -> Callable[[Tensor], Tensor]:
        height = self._height()
        _, z_top = self.volume.z_range
        return lambda rows: variables.VARIABLES[name](rows, height, z_top)

    def _height(self) -> float:
        z_low, z_high = self.volume.z_range
        height: float = z_high - z_low
        return height

    def _quadratic(self, jacobian: Float[Tensor, "mu var 8"]) -> Float[Tensor, "mu var"]:
        var_a, cov, var_s = (part[:, None, :] for part in self._covariance)
        by_a, by_s = variables.by_offset_and_slope(jacobian)
        return (by_a**2 * var_a + 2 * by_a * by_s * cov + by_s**2 * var_s).sum(-1)

    def __getattr__(self, name: str) -> Tensor:
        """Variables of the spec and their ``_unc`` twins."""
        base = name.removesuffix("_unc")
        if base not in variables.VARIABLES:
            raise AttributeError(f"{type(self).__name__} has no variable {name!r}")
        result = self.uncertainty(base) if name.endswith("_unc") else self.value(base)
        self.__dict__[name] = result
        return result

    def get_scatter_mask(self) -> Bool[Tensor, " mu"]:
        """Which kept muons have their point of closest approach in the passive volume."""
        xyz = self.poca.xyz[self.valid]
        z_low, z_high = self.volume.get_passive_z_range()
        lateral = ((xyz[:, :2] >= 0) & (xyz[:, :2] < self.volume.lw)).all(1)
        inside: Tensor = lateral & (xyz[:, 2] >= z_low) & (xyz[:, 2] < z_high)
        return inside


@kernel
def _kept(
    top: Float[Tensor, "axis mu"],
    bottom: Float[Tensor, "axis mu"],
    slope_in: Float[Tensor, "axis mu"],
    slope_out: Float[Tensor, "axis mu"],
    seen: Bool[Tensor, " mu"],
    reach: Float[Tensor, " axis"],
) -> tuple[Bool[Tensor, " mu"]]:
    """Which tracks enter and leave within reach, are not too steep, and are not parallel."""
    near = (torch.maximum(top.abs(), bottom.abs()) < reach[:, None]).all(0)
    steep = torch.maximum(slope_in.abs(), slope_out.abs()).amax(0)
    angle = cross_squared(slope_in.t(), slope_out.t())
    return (seen & near & (steep < MAX_SLOPE) & (angle > 0) & torch.isfinite(angle),)
