"""Weighted straight-line fits with their covariances, in closed form.

The fit works on the residuals about a known line, with sums centred on the weighted mean depth, so
that rounding errors of positions never enter (D-05) and gradients reach the panel heights (D-65).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.detectors.hits import Hits, Lines, true_positions
from tomopt_tasks.inference.line_fit import fit_lines


@dataclass(frozen=True, slots=True)
class Tracks:
    """Fitted lines x(depth) = offset + slope * depth, per axis, at one reference plane."""

    offset: Float[Tensor, "mu 2"]
    """Position at the reference plane [m]."""
    slope: Float[Tensor, "mu 2"]
    """Change of position per unit of depth."""
    var_offset: Float[Tensor, "mu 2"]
    """Variance of the offset [m2]."""
    cov: Float[Tensor, "mu 2"]
    """Covariance of offset and slope [m]."""
    var_slope: Float[Tensor, "mu 2"]
    """Variance of the slope."""
    z: float
    """Height of the reference plane [m]."""
    valid: Bool[Tensor, " mu"]
    """Whether at least two hits at different heights carry weight."""

    def at(self, z: float) -> "Tracks":
        """The same lines, referred to the plane at height ``z`` [m]."""
        if z == self.z:
            return self
        depth = self.z - z
        return Tracks(
            offset=self.offset + depth * self.slope,
            slope=self.slope,
            var_offset=self.var_offset + depth * (2.0 * self.cov + depth * self.var_slope),
            cov=self.cov + depth * self.var_slope,
            var_slope=self.var_slope,
            z=z,
            valid=self.valid,
        )


def fit_tracks(lines: Lines, hits: Hits) -> Tracks:
    """Fit a straight line to the hits of each muon, each axis by itself.

    A hit weighs (efficiency / sigma)^2 (spec 5.1). The covariance is that of the weighted estimator
    for hits with standard deviation sigma, whatever the weights; efficiencies do not enter it
    otherwise.

    Args:
        lines: the lines that the residuals of ``hits`` refer to.
        hits: residuals, standard deviations and efficiencies.
    """
    seen = torch.where(hits.present, hits.efficiency, 0.0)
    residual, sigma = (of_hits.permute(1, 2, 0) for of_hits in (hits.residual, hits.sigma))
    fit = fit_lines(hits.depth, seen.t(), residual, sigma)
    return Tracks(
        offset=lines.offset + fit.offset.t(),
        slope=lines.slope + fit.slope.t(),
        var_offset=fit.var_offset.t(),
        cov=fit.cov.t(),
        var_slope=fit.var_slope.t(),
        z=lines.z,
        valid=fit.valid,
    )


def fit_tracks_float32(lines: Lines, hits: Hits) -> Tracks:
    """The same fit to absolute positions in single precision, about the origin of z.

    Compat: this is TomOpt's fit (spec 5.1), whose sums cancel (D-05): with panels 1 cm apart it
    errs by some 1e-5 in slope for a muon 0.5 m from the origin, and more further out. Covariances
    are those of ``fit_tracks``.

    Args:
        lines: as in ``fit_tracks``.
        hits: as in ``fit_tracks``.
    """
    exact = fit_tracks(lines, hits)
    z = (lines.z - hits.depth).float()[None, :, None]
    position = true_positions(lines, lines.z - hits.depth) + hits.residual
    power = (hits.efficiency[..., None] / hits.sigma) ** 2
    weight = torch.where(hits.present[..., None], power, torch.zeros_like(power)).float()
    weight = torch.where(exact.valid[:, None, None], weight, torch.ones_like(weight))
    total = weight.sum(1)
    mean, mean_z, mean_xz, mean_z2 = (
        (weight * values).sum(1) / total
        for values in (position.float(), z, position.float() * z, z * z)
    )
    at_zero = (mean - mean_z * mean_xz / mean_z2) / (1.0 - mean_z**2 / mean_z2)
    rise = (mean_xz - at_zero * mean_z) / mean_z2
    first, second = hits.depth.argsort()[:2]  # TomOpt keeps the line as two points on it
    start, end = at_zero + rise * z[:, first], at_zero + rise * z[:, second]
    slope = ((end - start) / (z[:, first] - z[:, second])).to(exact.slope)
    offset = start.to(exact.offset) - hits.depth[first] * slope
    valid = exact.valid & torch.isfinite(offset).all(1) & torch.isfinite(slope).all(1)
    return replace(
        exact,
        offset=torch.where(valid[:, None], offset, exact.offset),
        slope=torch.where(valid[:, None], slope, exact.slope),
        valid=valid,
    )


TrackFit = Literal["centred", "float32"]
"""How lines are fitted; ``float32`` is compat: TomOpt."""

TRACK_FITS: dict[TrackFit, Callable[[Lines, Hits], Tracks]] = {
    "centred": fit_tracks,
    "float32": fit_tracks_float32,
}
