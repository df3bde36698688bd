"""Detector layers: stacks of panels above and below the passive volume (spec 3.4)."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomopt_tasks.detectors.hits import Hits, Lines, measure
from tomopt_tasks.detectors.panel import DetectorPanel, stack, total_cost
from tomopt_tasks.detectors.separation import separate
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.volume.layer import AbsLayer


class AbsDetectorLayer(AbsLayer):
    """A zone with detectors; it does not scatter.

    Args:
        pos: ``above`` or ``below`` the passive volume.
        lw: length and width [m].
        z: top [m].
        size: height of the zone [m].
        device: where the layer lives.
    """

    type_label = ""
    _n_costs = 0

    def __init__(
        self,
        pos: str,
        *,
        lw: Tensor | Sequence[float],
        z: float,
        size: float,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(lw=lw, z=z, size=size, device=device)
        self.pos = pos

    def get_cost(self) -> Tensor:
        """Cost of the layer."""
        return torch.zeros(1, dtype=self.lw.dtype, device=self.lw.device)

    def assign_budget(self, budget: Tensor | None) -> None:
        """Give each panel its share of the budget."""

    def conform_detector(self) -> None:
        """Hold all parameters within their physical bounds."""


class PanelDetectorLayer(AbsDetectorLayer):
    """Panels at one side of the passive volume.

    Args:
        pos: ``above`` or ``below``.
        lw: length and width [m].
        z: top of the zone [m].
        size: height of the zone [m].
        panels: the panels, all on one device.

    Raises:
        ValueError: no panels, or panels on different devices.
    """

    panels: Any

    def __init__(
        self,
        pos: str,
        *,
        lw: Tensor | Sequence[float],
        z: float,
        size: float,
        panels: Sequence[Any] | nn.ModuleList,
    ) -> None:
        if len(panels) == 0:
            raise ValueError(f"the detector layer {pos!r} has no panels")
        devices = {str(panel.device) for panel in panels}
        if len(devices) > 1:
            raise ValueError(f"panels of layer {pos!r} lie on several devices: {sorted(devices)}")
        super().__init__(pos, lw=lw, z=z, size=size, device=str(panels[0].device))
        self.panels = nn.ModuleList(panels)
        self.min_separation = 0.0
        self.type_label = "panel" if isinstance(panels[0], DetectorPanel) else "heatmap"
        self._n_costs = len(panels)

    def get_panel_zorder(self) -> list[int]:
        """Indices of the panels, highest first."""
        heights = [float(panel.z.detach()) for panel in self.panels]
        return sorted(range(len(heights)), key=lambda k: -heights[k])

    def yield_zordered_panels(self) -> Iterator[tuple[int, Any]]:
        """Index and panel, highest first."""
        for index in self.get_panel_zorder():
            yield index, self.panels[index]

    @property
    def hard(self) -> bool:
        """Whether the panels have hard edges in their present mode."""
        return any(panel.hard for panel in self.panels)

    def measure(
        self,
        lines: Lines,
        noise: Float[Tensor, "mu panel 2"],
        luck: Float[Tensor, "mu panel"] | None = None,
    ) -> Hits:
        """Hits of all panels on the given lines, in the order of construction.

        Args:
            lines: where the muons fly.
            noise: standard normal numbers for the positions.
            luck: the same for what panels with ``missed_hits`` miss; None: nothing.
        """
        if self.type_label == "panel":
            return measure(lines, stack(list(self.panels)), noise, hard=self.hard, luck=luck)
        per_panel = [
            panel.measure(lines, noise[:, k : k + 1]) for k, panel in enumerate(self.panels)
        ]
        return Hits(
            depth=torch.cat([hits.depth for hits in per_panel]),
            residual=torch.cat([hits.residual for hits in per_panel], 1),
            sigma=torch.cat([hits.sigma for hits in per_panel], 1),
            efficiency=torch.cat([hits.efficiency for hits in per_panel], 1),
            present=torch.cat([hits.present for hits in per_panel], 1),
        )

    def draw(
        self, mu: MuonBatch
    ) -> tuple[Float[Tensor, "mu panel 2"], Float[Tensor, "mu panel"] | None]:
        """Random numbers for ``measure``, from streams that belong to this side."""
        n_panels = len(self.panels)
        noise = mu.draw_noise(n_panels, self.pos)
        if not any(getattr(panel, "missed_hits", False) for panel in self.panels):
            return noise, None
        return noise, mu.draw_noise(n_panels, f"{self.pos} luck")[..., 0]

    def forward(self, mu: MuonBatch) -> None:
        """Measure the muons and let them fly on to the bottom of the zone."""
        mu.propagate_dz(mu.z - self.z)
        lines = Lines(offset=mu.xy, slope=mu.tan_xy, z=float(self.z))
        mu.record(self.pos, lines, self.measure(lines, *self.draw(mu)))
        mu.propagate_dz(self.size)

    def conform_detector(self) -> None:
        """Hold the panels inside the zone and apart by ``min_separation``, deterministically."""
        length, width, z_top, _ = self.bounds
        z_bottom = z_top - self.size
        low, high = [0.0, 0.0, z_bottom], [length, width, z_top]
        apart = self.min_separation > 0  # the order of the panels is that before faces hold them
        heights = torch.cat([panel.z.detach() for panel in self.panels]).tolist() if apart else []
        for panel in self.panels:
            if self.type_label == "panel":
                panel.clamp_params(low, high)
            else:
                panel.conform(low, high)
        if apart:
            placed = separate(heights, self.min_separation, z_bottom, z_top)
            with torch.no_grad():
                for panel, height in zip(self.panels, placed, strict=True):
                    panel.z.fill_(height)

    def get_cost(self) -> Tensor:
        """Sum of the costs of the panels."""
        if self.type_label == "panel":
            return total_cost(list(self.panels))
        return torch.stack([panel.get_cost().reshape(()) for panel in self.panels]).sum()[None]

    def assign_budget(self, budget: Tensor | None) -> None:
        """Give ``budget[i]`` to panel i in the order of construction (D-45)."""
        if budget is not None:
            for share, panel in zip(budget, self.panels, strict=True):
                panel.assign_budget(share)
