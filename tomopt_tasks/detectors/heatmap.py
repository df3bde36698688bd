"""Detector whose response over its plane is a mixture of Gaussians (spec 4.4)."""

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomopt_tasks.detectors.hits import Hits, Lines, true_positions
from tomopt_tasks.detectors.response import RESPONSE_FLOOR
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream

RANGE_MULT = 1.2
"""How far parameters may leave their first range, as a factor."""

LEAST_SIGMA = 1e-3
"""Least width of a Gaussian, in units of the first range (D-29)."""

NORM_RANGE = (0.01, 1.5)
"""Range of the normalisation."""


class GMM(nn.Module):
    """Equal-weight mixture of axis-aligned Gaussians, relative to its highest centre.

    Learnable: ``mu`` (centres, m), ``sig`` (widths, m), ``norm`` (height of the highest centre).

    Args:
        n_cluster: number of Gaussians; >= 1.
        init_xy: middle of the square that the first centres are drawn from [m].
        init_xy_span: side of this square [m]; > 0.
        init_norm: first normalisation.
        device: where the parameters live.
        rng: draws centres and widths; None: a stream named by ``init_xy`` and ``n_cluster``.
    """

    def __init__(
        self,
        n_cluster: int = 20,
        init_xy: Sequence[float] = (0.5, 0.5),
        init_xy_span: float = 1.0,
        init_norm: float = 1.0,
        device: torch.device | str = "cpu",
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if n_cluster < 1 or not init_xy_span > 0:
            raise ValueError(
                f"n_cluster = {n_cluster} and init_xy_span = {init_xy_span} m must be positive"
            )
        centre = torch.tensor([float(v) for v in init_xy], dtype=torch.get_default_dtype())
        names = (f"{v:.9g}" for v in centre.tolist())
        rng = stream(0, "heat map", n_cluster, *names) if rng is None else rng
        draws = torch.rand(2, n_cluster, 2, generator=rng, dtype=torch.float64).to(centre)
        self.n_cluster = n_cluster
        self.mu = nn.Parameter((centre + init_xy_span * (0.5 - draws[0])).to(device))
        self.sig = nn.Parameter((init_xy_span * draws[1].clamp_min(0.2)).to(device))
        self.norm = nn.Parameter(
            torch.full((1,), float(init_norm), dtype=centre.dtype, device=device)
        )

    def log_density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Logarithm of the mixture's density, up to a constant."""
        scaled = (x[:, None, :] - self.mu) / self.sig
        height = -0.5 * (scaled**2).sum(-1) - torch.log(self.sig).sum(-1)
        return torch.logsumexp(height, 1) - math.log(self.n_cluster)

    def forward(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, "n 2"]:
        """Square root of norm x density / density of the highest centre, for both axes."""
        ratio = self.log_density(x) - self.log_density(self.mu).max()
        root = torch.sqrt(self.norm) * torch.exp(0.5 * ratio)
        return root[:, None].expand(-1, 2)


class DetectorHeatMap(nn.Module):
    """A plane whose resolution and efficiency follow a mixture of Gaussians.

    Learnable: ``mu``, ``sig``, ``norm`` of the mixture and ``z`` (height, m).

    Args:
        res: inverse of the hit resolution where the response is one [1/m]; > 0.
        eff: probability of a hit there; in (0, 1].
        init_xyz: middle of the first square, and height [m].
        init_xy_span: lower and upper offset of the first square's sides from its middle [m].
        m2_cost: cost per square metre of mean Gaussian.
        budget: must be None.
        realistic_validation: must be False; a heat map has no hard edges.
        device: where parameters and buffers live.
        n_cluster: number of Gaussians.
        rng: draws the first mixture.

    Raises:
        ValueError: resolution, efficiency or range outside their bounds.
        NotImplementedError: a budget or hard edges are asked for.
    """

    m2_cost: Tensor
    resolution: Tensor
    efficiency: Tensor
    xy_fix: Tensor
    xy_span_fix: Tensor

    def __init__(
        self,
        *,
        res: float,
        eff: float,
        init_xyz: Sequence[float],
        init_xy_span: Sequence[float],
        m2_cost: float = 1.0,
        budget: Tensor | None = None,
        realistic_validation: bool = False,
        device: torch.device | str = "cpu",
        n_cluster: int = 30,
        rng: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if not res > 0 or not 0 < eff <= 1:
            raise ValueError(f"res = {res} 1/m must be positive and eff = {eff} lie in (0, 1]")
        if realistic_validation:
            raise NotImplementedError(
                "a heat map has no hard edges; use realistic_validation=False"
            )
        self.assign_budget(budget)
        self.realistic_validation = False
        self.range_mult = RANGE_MULT
        low, high = sorted(float(v) for v in init_xy_span)
        self.delta_xy = high - low
        self.gmm = GMM(n_cluster, init_xyz[:2], self.delta_xy, 1.0, device, rng)

        def fixed(value: Sequence[float]) -> Tensor:
            return torch.tensor(value, dtype=torch.get_default_dtype(), device=device)

        self.z = nn.Parameter(fixed([float(init_xyz[2])]))
        self.register_buffer("xy_fix", fixed([float(v) for v in init_xyz[:2]]))
        self.register_buffer("xy_span_fix", fixed([low, high]))
        self.register_buffer("m2_cost", fixed([float(m2_cost)]))
        self.register_buffer("resolution", fixed([float(res)]))
        self.register_buffer("efficiency", fixed([float(eff)]))

    @property
    def mu(self) -> nn.Parameter:
        """Centres of the Gaussians [m]."""
        return self.gmm.mu

    @property
    def sig(self) -> nn.Parameter:
        """Their widths [m]."""
        return self.gmm.sig

    @property
    def norm(self) -> nn.Parameter:
        """Height of the response at the highest centre."""
        return self.gmm.norm

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.z.device

    @property
    def hard(self) -> bool:
        """Never: a heat map has no edges."""
        return False

    def forward(self, *_mu: MuonBatch) -> None:
        """Not used: call :meth:`get_hits`."""
        raise NotImplementedError("a heat map is not called; use get_hits(mu)")

    def response(self, xy: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 2"]:
        """Fraction of the nominal resolution per axis, between 1e-10 and 1 (D-29)."""
        found: Tensor = self.gmm(xy)
        return found.clamp(RESPONSE_FLOOR, 1.0)

    def get_resolution(
        self,
        xy: Float[Tensor, "mu 2"],
        mask: Bool[Tensor, " mu"] | None = None,  # noqa: ARG002
    ) -> Float[Tensor, "mu 2"]:
        """Inverse resolution per axis at true positions [1/m]."""
        return self.resolution * self.response(xy)

    def get_efficiency(
        self,
        xy: Float[Tensor, "mu 2"],
        mask: Bool[Tensor, " mu"] | None = None,  # noqa: ARG002
        as_2d: bool = False,  # noqa: FBT001, FBT002
    ) -> Float[Tensor, " mu"] | Float[Tensor, "mu 2"]:
        """Probability of a hit at true positions, or its two equal factors' columns."""
        response = self.response(xy)
        return self.efficiency * (response if as_2d else response.prod(-1))

    def measure(self, lines: Lines, noise: Float[Tensor, "mu 1 2"]) -> Hits:
        """Hits of the muons on this plane; see :func:`tomopt_tasks.detectors.hits.measure`."""
        response = self.response(true_positions(lines, self.z)[:, 0])[:, None]
        sigma = 1.0 / (self.resolution * response)
        return Hits(
            depth=lines.z - self.z,
            residual=noise * sigma,
            sigma=sigma,
            efficiency=self.efficiency * response.prod(-1),
            present=torch.ones_like(response[..., 0], dtype=torch.bool),
        )

    def get_hits(self, mu: MuonBatch) -> dict[str, Tensor]:
        """Hits of a batch of muons, as of :meth:`.DetectorPanel.get_hits`."""
        lines = Lines(offset=mu.xy, slope=mu.tan_xy, z=mu.plane)
        return self.measure(lines, mu.draw_noise(1)).as_dict(lines)[0]

    def get_cost(self) -> Tensor:
        """Cost per area times the mean area of a Gaussian."""
        return self.m2_cost * self.sig.prod(-1).mean()

    def assign_budget(self, budget: Tensor | None) -> None:
        """Only None: the size of a heat map is not set by a budget."""
        if budget is not None:
            raise NotImplementedError(
                "a heat map takes no budget; its cost follows from its widths"
            )

    @torch.no_grad()
    def clamp_params(
        self,
        musigz_low: Sequence[float | Sequence[float]],
        musigz_high: Sequence[float | Sequence[float]],
        margin: float = 0.0,
    ) -> None:
        """Hold centres, widths, height and normalisation in their ranges.

        Args:
            musigz_low: lower bounds of centre, width and height [m]; each centre's bound is one
                number, or one for x and one for y.
            musigz_high: upper bounds.
            margin: distance that the height keeps from its bounds [m].
        """
        low, high = (
            torch.as_tensor(bound[0], dtype=self.mu.dtype, device=self.mu.device)
            for bound in (musigz_low, musigz_high)
        )
        self.mu.copy_(torch.minimum(torch.maximum(self.mu, low), high))
        least = max(_number(musigz_low[1]) / RANGE_MULT, LEAST_SIGMA * self.delta_xy)
        self.sig.clamp_(least, RANGE_MULT * _number(musigz_high[1]))
        self.z.clamp_(_number(musigz_low[2]) + margin, _number(musigz_high[2]) - margin)
        self.norm.clamp_(*NORM_RANGE)

    def conform(self, xyz_low: Sequence[float], xyz_high: Sequence[float]) -> None:
        """Hold the heat map in a box: centres near where they started, each axis by itself (D-29).

        Args:
            xyz_low: low corner of the box [m].
            xyz_high: high corner [m].
        """
        reach = RANGE_MULT * self.delta_xy
        start = [float(v) for v in self.xy_fix]
        low = [max(xyz_low[axis], start[axis] - reach) for axis in (0, 1)]
        high = [min(xyz_high[axis], start[axis] + reach) for axis in (0, 1)]
        self.clamp_params((low, 0.0, xyz_low[2]), (high, max(xyz_high[:2]), xyz_high[2]))

    def plot_map(
        self,
        bpixelate: bool = False,  # noqa: ARG002, FBT001, FBT002  (published signature)
        bsavefig: bool = False,  # noqa: FBT001, FBT002
        filename: str | Path | None = None,
    ) -> Any:
        """Figure of the relative efficiency; if wanted, saved (``heatmap_plot.png`` by default)."""
        drawing = importlib.import_module("tomopt_tasks.plotting.heatmap")
        savename = (filename or "heatmap_plot.png") if bsavefig else None
        return drawing.plot_heatmap(self, savename)


def _number(bound: float | Sequence[float]) -> float:
    if not isinstance(bound, (int, float)):
        raise TypeError(f"the bound {bound!r} must be one number")
    return float(bound)
