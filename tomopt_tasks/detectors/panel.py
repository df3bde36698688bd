"""Detector panels with learnable position and size (spec 4.1 to 4.3)."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomopt_tasks.detectors.hits import Lines, PanelStack, measure
from tomopt_tasks.detectors.response import gaussian_response, inside, sigmoid_response
from tomopt_tasks.kernels import constants
from tomopt_tasks.muons.batch import MuonBatch


class DetectorPanel(nn.Module):
    """A rectangular panel whose soft response falls off like a Gaussian (edge = two sigma).

    Learnable: ``xy`` (centre, m), ``z`` (height, m), ``xy_span`` (full widths, m).

    Args:
        res: inverse of the hit resolution [1/m]; > 0.
        eff: probability of a hit inside the panel; in (0, 1].
        init_xyz: centre [m].
        init_xy_span: full widths [m]; > 0.
        m2_cost: cost per square metre.
        budget: cost that the panel may have; its widths are scaled to it. None: as they are.
        realistic_validation: hard edges in evaluation mode.
        device: where parameters and buffers live.

    Raises:
        ValueError: resolution, efficiency or widths outside their range.
    """

    def __init__(
        self,
        *,
        res: float,
        eff: float,
        init_xyz: Sequence[float],
        init_xy_span: Sequence[float],
        m2_cost: float = 1.0,
        budget: Tensor | None = None,
        realistic_validation: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        if not res > 0:
            raise ValueError(f"res = {res} 1/m is not positive; give the inverse of the resolution")
        if not 0 < eff <= 1:
            raise ValueError(f"eff = {eff} is not a probability in (0, 1]")
        if min(init_xy_span) <= 0:
            raise ValueError(f"init_xy_span = {list(init_xy_span)} m has a width that is not > 0")
        self.realistic_validation = realistic_validation
        self.soft_resolution = True
        self.missed_hits = False

        def fixed(value: Sequence[float]) -> Tensor:
            return torch.tensor(value, dtype=torch.get_default_dtype(), device=device)

        self.xy = nn.Parameter(fixed([float(v) for v in init_xyz[:2]]))
        self.z = nn.Parameter(fixed([float(init_xyz[2])]))
        self.xy_span = nn.Parameter(fixed([float(v) for v in init_xy_span]))
        self.register_buffer("m2_cost", fixed([float(m2_cost)]))
        self.register_buffer("resolution", fixed([float(res)]))
        self.register_buffer("efficiency", fixed([float(eff)]))
        self.register_buffer("budget_scale", fixed([1.0]), persistent=False)
        self.assign_budget(budget)

    m2_cost: Tensor
    resolution: Tensor
    efficiency: Tensor
    budget_scale: Tensor

    @property
    def x(self) -> Tensor:
        """Coordinate x of the centre [m]."""
        return self.xy[0]

    @property
    def y(self) -> Tensor:
        """Coordinate y of the centre [m]."""
        return self.xy[1]

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return self.xy.device

    @property
    def hard(self) -> bool:
        """Whether the panel has hard edges in its present mode."""
        return self.realistic_validation and not self.training

    def forward(self, *_mu: MuonBatch) -> None:
        """Not used: call :meth:`get_hits`."""
        raise NotImplementedError("a panel is not called; use get_hits(mu)")

    def get_scaled_xy_span(self) -> Float[Tensor, "2"]:
        """Full widths after the budget has been assigned [m]."""
        return self.xy_span * self.budget_scale

    def assign_budget(self, budget: Tensor | None) -> None:
        """Scale the area so that the panel costs exactly ``budget``; None changes nothing.

        Differentiable in the budget; ``xy_span`` then only sets the aspect ratio.
        """
        if budget is not None:
            self.budget_scale = torch.sqrt(budget / (self.m2_cost * _area(self.xy_span)))

    def get_cost(self) -> Tensor:
        """Cost of the panel: cost per area times area."""
        return self.m2_cost * _area(self.get_scaled_xy_span())

    def get_xy_mask(self, xy: Float[Tensor, "mu 2"]) -> Bool[Tensor, " mu"]:
        """Which positions lie on the panel (half-open box)."""
        return inside(xy - self.xy, self.get_scaled_xy_span())

    def get_gauss(self) -> torch.distributions.Normal:
        """The two independent normal distributions of the soft response."""
        return torch.distributions.Normal(self.xy, self.get_scaled_xy_span() / 4)

    def soft_response(self, xy: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 2"]:
        """Fraction of the nominal resolution per axis; see :mod:`.response`."""
        return gaussian_response(xy - self.xy, self.get_scaled_xy_span())

    def get_resolution(
        self, xy: Float[Tensor, "mu 2"], mask: Bool[Tensor, " mu"] | None = None
    ) -> Float[Tensor, "mu 2"]:
        """Inverse resolution per axis at true positions [1/m]; zero off a hard-edged panel."""
        if not self.hard:
            kept = self.soft_response(xy)
            return self.resolution * (kept if self.soft_resolution else torch.ones_like(kept))
        on_panel = self.get_xy_mask(xy) if mask is None else mask
        return self.resolution * on_panel[:, None].to(xy).expand(-1, 2)

    def get_efficiency(
        self, xy: Float[Tensor, "mu 2"], mask: Bool[Tensor, " mu"] | None = None
    ) -> Float[Tensor, " mu"]:
        """Probability of a hit at true positions; zero off a hard-edged panel."""
        if not self.hard:
            return self.efficiency * self.soft_response(xy).prod(-1)
        on_panel = self.get_xy_mask(xy) if mask is None else mask
        return self.efficiency * on_panel.to(xy)

    def get_hits(self, mu: MuonBatch) -> dict[str, Tensor]:
        """Hits of a batch of muons, wherever along their lines they are now.

        Returns:
            reco_xyz, gen_xyz, unc_xyz (mu, 3) [m] and eff (mu, 1); see spec 1.3.
        """
        lines = Lines(offset=mu.xy, slope=mu.tan_xy, z=mu.plane)
        noise = mu.draw_noise(1)
        luck = mu.draw_noise(1, "luck")[..., 0] if self.missed_hits else None
        hits = measure(lines, stack([self]), noise, hard=self.hard, luck=luck)
        return hits.as_dict(lines)[0]

    @torch.no_grad()
    def clamp_params(
        self, xyz_low: Sequence[float], xyz_high: Sequence[float], margin: float = 0.0
    ) -> None:
        """Hold the centre in a box and the widths between 1/20 and 10 times its upper corner.

        Deterministic (D-34): ``margin`` [m] keeps a fixed distance from the faces in z.
        """
        x, y = xyz_high[:2]
        self.xy.clamp_(*(constants(tuple(of[:2]), self.xy) for of in (xyz_low, xyz_high)))
        self.xy_span.clamp_(*(constants((x * by, y * by), self.xy) for by in (0.05, 10.0)))
        self.z.clamp_(xyz_low[2] + margin, xyz_high[2] - margin)


class SigmoidDetectorPanel(DetectorPanel):
    """A panel with a flat top and sigmoid edges; ``smooth`` is their width in half-widths.

    Args:
        smooth: > 0; annealed towards hard edges during a fit.
        res: see :class:`DetectorPanel`, like the other arguments.
        eff: as there.
        init_xyz: as there.
        init_xy_span: as there.
        m2_cost: as there.
        budget: as there.
        realistic_validation: as there.
        device: as there.
    """

    _smooth: Tensor

    def __init__(
        self,
        *,
        smooth: float | Tensor,
        res: float,
        eff: float,
        init_xyz: Sequence[float],
        init_xy_span: Sequence[float],
        m2_cost: float = 1.0,
        budget: Tensor | None = None,
        realistic_validation: bool = True,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            res=res,
            eff=eff,
            init_xyz=init_xyz,
            init_xy_span=init_xy_span,
            m2_cost=m2_cost,
            budget=budget,
            realistic_validation=realistic_validation,
            device=device,
        )
        self.register_buffer("_smooth", torch.ones_like(self.z))
        self.smooth = smooth

    @property
    def smooth(self) -> Tensor:
        """Width of the edge in half-widths, always of shape (1,) (D-16)."""
        return self._smooth

    @smooth.setter
    def smooth(self, value: float | Tensor) -> None:
        width = float(value)
        if not width > 0:
            raise ValueError(f"smooth = {width} is not positive; use a small value for hard edges")
        self._smooth = torch.full_like(self.z.detach(), width)

    def soft_response(self, xy: Float[Tensor, "mu 2"]) -> Float[Tensor, "mu 2"]:
        """Fraction of the nominal resolution per axis; see :mod:`.response`."""
        return sigmoid_response(xy - self.xy, self.get_scaled_xy_span(), self._smooth)


def _area(span: Float[Tensor, "2"]) -> Float[Tensor, ""]:
    """Area [m2]; its derivative takes fewer operations than that of ``prod``."""
    width, length = span.unbind()
    return width * length


def stack(panels: Sequence[DetectorPanel]) -> PanelStack:
    """Panels of one kind as tensors, in the given order.

    Raises:
        ValueError: Gaussian and sigmoid panels are mixed.
    """
    sigmoid = [isinstance(panel, SigmoidDetectorPanel) for panel in panels]
    if any(sigmoid) != all(sigmoid):
        raise ValueError("a layer mixes Gaussian and sigmoid panels; use one kind a layer")
    return PanelStack(
        xy=torch.stack([panel.xy for panel in panels]),
        z=torch.cat([panel.z for panel in panels]),
        span=_scaled_spans(panels),
        resolution=torch.cat([panel.resolution for panel in panels]),
        efficiency=torch.cat([panel.efficiency for panel in panels]),
        smooth=torch.cat([p.smooth for p in panels if isinstance(p, SigmoidDetectorPanel)])
        if all(sigmoid)
        else None,
        soft_resolution=panels[0].soft_resolution,
        missed=constants(tuple(float(panel.missed_hits) for panel in panels), panels[0].z) > 0
        if any(panel.missed_hits for panel in panels)
        else None,
    )


def total_cost(panels: Sequence[DetectorPanel]) -> Float[Tensor, "1"]:
    """Sum of the costs of panels, all at once: a loss asks for it at every volume."""
    if _own(panels, "get_cost"):
        return torch.stack([panel.get_cost().reshape(()) for panel in panels]).sum()[None]
    width, length = _scaled_spans(panels).unbind(1)
    price = torch.cat([panel.m2_cost for panel in panels])
    return (price * (width * length)).sum(0, keepdim=True)


def _scaled_spans(panels: Sequence[DetectorPanel]) -> Float[Tensor, "panel 2"]:
    """Full widths after the budget has been assigned [m]."""
    if _own(panels, "get_scaled_xy_span"):
        return torch.stack([panel.get_scaled_xy_span() for panel in panels])
    scale = torch.cat([panel.budget_scale for panel in panels])
    return torch.stack([panel.xy_span for panel in panels]) * scale[:, None]


def _own(panels: Sequence[DetectorPanel], name: str) -> bool:
    """Whether a panel is of a class of the user's that does something in another way."""
    return any(getattr(type(panel), name) is not getattr(DetectorPanel, name) for panel in panels)
