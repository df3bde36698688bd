"""Hits of a batch of muons on a stack of panels, as deviations from the true straight line."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tomopt_tasks.detectors.response import gaussian_response, inside, sigmoid_response
from tomopt_tasks.detectors.soft_hits import (
    Measured,
    gaussian_hits,
    measured,
    offsets_from,
    sigmoid_hits,
)


@dataclass(frozen=True, slots=True)
class PanelStack:
    """The panels of one side of the detector as tensors that carry gradients."""

    xy: Float[Tensor, "panel 2"]
    """Centres [m]."""
    z: Float[Tensor, " panel"]
    """Heights [m]."""
    span: Float[Tensor, "panel 2"]
    """Full widths after the budget has been assigned [m]."""
    resolution: Float[Tensor, " panel"]
    """Inverse of the standard deviation of a hit [1/m]."""
    efficiency: Float[Tensor, " panel"]
    """Probability of a hit inside the panel."""
    smooth: Float[Tensor, " panel"] | None
    """Edge width of sigmoid panels in half-widths; None for Gaussian panels."""
    soft_resolution: bool = True
    """Soft edges blur hits as they fade (spec 4.1); False: they only make hits less likely."""
    missed: Bool[Tensor, " panel"] | None = None
    """Panels that miss hits at random; the hits of the others count with their efficiency."""


@dataclass(frozen=True, slots=True)
class Lines:
    """True straight lines: position at a reference plane and slope per unit of depth."""

    offset: Float[Tensor, "mu 2"]
    """Position at the reference plane [m]."""
    slope: Float[Tensor, "mu 2"]
    """tan(theta_x), tan(theta_y); positive slopes move to larger x, y while flying down."""
    z: float
    """Height of the reference plane [m]."""


@dataclass(frozen=True, slots=True)
class Hits:
    """Measurements of one side, relative to the true lines they were drawn from."""

    depth: Float[Tensor, " panel"]
    """Depth of the panels below the reference plane of the lines [m]; negative above it."""
    residual: Float[Tensor, "mu panel 2"]
    """Measured minus true position [m]."""
    sigma: Float[Tensor, "mu panel 2"]
    """Standard deviation of the measurement [m]."""
    efficiency: Float[Tensor, "mu panel"]
    """Probability that the panel sees the muon; zero where the hit is missing."""
    present: Bool[Tensor, "mu panel"]
    """Whether the panel measured the muon at all."""

    def join(self, other: "Hits", drop: float) -> "Hits":
        """These hits and others of the same muons, whose reference plane is ``drop`` [m] lower."""
        return Hits(
            depth=torch.cat([self.depth, other.depth + drop]),
            residual=torch.cat([self.residual, other.residual], 1),
            sigma=torch.cat([self.sigma, other.sigma], 1),
            efficiency=torch.cat([self.efficiency, other.efficiency], 1),
            present=torch.cat([self.present, other.present], 1),
        )

    def as_dict(self, lines: Lines) -> list[dict[str, Tensor]]:
        """Hits panel by panel under the names of spec 1.3.

        Args:
            lines: the lines that the hits were drawn from.

        Returns:
            For each panel ``reco_xyz``, ``gen_xyz``, ``unc_xyz`` (mu, 3) [m] and ``eff`` (mu, 1).
            Where a panel measured nothing the position is NaN, its uncertainty infinite and the
            efficiency zero.
        """
        z = (lines.z - self.depth)[None, :].expand(len(lines.offset), -1)
        true = true_positions(lines, lines.z - self.depth)
        here = self.present[..., None]
        found = torch.where(here, true + self.residual, torch.nan)
        sigma = torch.where(here, self.sigma, torch.inf)
        parts = {
            "reco_xyz": torch.cat([found, z[..., None]], -1),
            "gen_xyz": torch.cat([true, z[..., None]], -1),
            "unc_xyz": torch.cat([sigma, torch.zeros_like(z)[..., None]], -1),
            "eff": (self.efficiency * self.present)[..., None],
        }
        return [{k: v[:, panel] for k, v in parts.items()} for panel in range(z.shape[1])]


def true_positions(lines: Lines, z: Float[Tensor, " panel"]) -> Float[Tensor, "mu panel 2"]:
    """Where the lines cross the planes at heights ``z`` [m]; differentiable in ``z`` (D-02)."""
    depth = lines.z - z
    return lines.offset[:, None, :] + depth[None, :, None] * lines.slope[:, None, :]


def measure(
    lines: Lines,
    panels: PanelStack,
    noise: Float[Tensor, "mu panel 2"],
    *,
    hard: bool,
    luck: Float[Tensor, "mu panel"] | None = None,
) -> Hits:
    """Draw the hits of every muon on every panel.

    The noise is re-parameterised: a hit is its true position plus ``noise`` times its standard
    deviation, so that equal noise makes designs comparable and gradients exact.

    Args:
        lines: true straight lines; they carry no gradient.
        panels: the panels; positions, heights and widths may carry gradients.
        noise: standard normal numbers.
        hard: box-shaped panels with missing hits outside and hits held inside (evaluation);
            otherwise the soft response of the panels (training).
        luck: standard normal numbers that decide which hits are missed; None: none are.
    """
    hits = _all_hits(lines, panels, noise, hard=hard)
    if panels.missed is None or luck is None:
        return hits
    return _without_missed(hits, panels.efficiency, panels.missed, luck)


def _all_hits(
    lines: Lines, panels: PanelStack, noise: Float[Tensor, "mu panel 2"], *, hard: bool
) -> Hits:
    depth = lines.z - panels.z
    if hard:
        offset = true_positions(lines, panels.z) - panels.xy
        return _hard_hits(offset, depth, panels, noise)
    found = _soft_hits(lines, panels, noise.permute(1, 2, 0), depth)
    return Hits(
        depth=depth,
        residual=found.residual.permute(2, 0, 1),
        sigma=found.sigma.permute(2, 0, 1),
        efficiency=found.efficiency.t(),
        present=torch.ones_like(found.efficiency, dtype=torch.bool).t(),
    )


def _soft_hits(
    lines: Lines,
    panels: PanelStack,
    noise: Float[Tensor, "panel axis mu"],
    depth: Float[Tensor, " panel"],
) -> Measured:
    offset, slope = lines.offset.t(), lines.slope.t()
    numbers = (panels.resolution, panels.efficiency)
    if not panels.soft_resolution:
        response = _soft_response(offsets_from(offset, slope, depth, panels.xy), panels)
        return measured(response, noise, *numbers, blurs=False)
    if panels.smooth is None:
        return gaussian_hits(offset, slope, noise, depth, panels.xy, panels.span, *numbers)
    return sigmoid_hits(
        offset, slope, noise, depth, panels.xy, panels.span, *numbers, panels.smooth
    )


def _soft_response(
    offset: Float[Tensor, "panel axis mu"], panels: PanelStack
) -> Float[Tensor, "panel axis mu"]:
    span = panels.span[..., None]
    if panels.smooth is None:
        return gaussian_response(offset, span)
    return sigmoid_response(offset, span, panels.smooth[:, None, None])


def _without_missed(
    hits: Hits,
    efficiency: Float[Tensor, " panel"],
    missed: Bool[Tensor, " panel"],
    luck: Float[Tensor, "mu panel"],
) -> Hits:
    """A hit is there with the efficiency of its panel, and then counts in full."""
    seen = ~missed | (luck < torch.special.ndtri(efficiency))
    whole = hits.efficiency / torch.where(missed, efficiency, torch.ones_like(efficiency))
    return replace(
        hits,
        residual=torch.where(seen[..., None], hits.residual, torch.zeros_like(hits.residual)),
        efficiency=torch.where(seen, whole, torch.zeros_like(whole)),
        present=hits.present & seen,
    )


def _hard_hits(
    offset: Float[Tensor, "mu panel 2"],
    depth: Float[Tensor, " panel"],
    panels: PanelStack,
    noise: Float[Tensor, "mu panel 2"],
) -> Hits:
    present = inside(offset, panels.span)
    sigma = (1.0 / panels.resolution)[None, :, None].expand_as(offset)
    half = 0.5 * panels.span.detach()
    held = torch.clamp(offset + noise * sigma, -half, half) - offset
    return Hits(
        depth=depth,
        residual=torch.where(present[..., None], held, torch.zeros_like(held)),
        sigma=sigma,
        efficiency=panels.efficiency * present,
        present=present,
    )
