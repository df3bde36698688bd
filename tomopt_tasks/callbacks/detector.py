"""Guards of the detector's parameters (spec 9.8): limits per step, common and tied positions."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback, detector_panels

Limit = float | Sequence[float] | None
TieKind = Literal["tie", "mirror"]


class PanelUpdateLimiter(Callback):
    """Clips how far one step may move or resize a panel.

    Args:
        max_xy_step: largest change of the centre [m], one number or one per axis.
        max_z_step: largest change of the height [m].
        max_xy_span_step: largest change of the widths [m], one number or one per axis.
    """

    def __init__(
        self,
        max_xy_step: Limit = None,
        max_z_step: Limit = None,
        max_xy_span_step: Limit = None,
    ) -> None:
        self.limits = {"xy": max_xy_step, "z": max_z_step, "xy_span": max_xy_span_step}
        self._before: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_backwards_end(self) -> None:
        """Remember where the panels are."""
        self._before = [
            (parameter, parameter.detach().clone(), torch.as_tensor(limit).to(parameter))
            for panel in detector_panels(self.attached.get_detectors())
            for name, limit in self.limits.items()
            for parameter in [getattr(panel, name, None)]  # a heat map has no edges to limit
            if limit is not None and parameter is not None
        ]

    @torch.no_grad()
    def on_step_end(self) -> None:
        """Pull back what moved too far."""
        for parameter, before, limit in self._before:
            parameter.clamp_(before - limit, before + limit)
        self._before = []


class PanelCentring(Callback):
    """Moves all panels of a layer to their common centre after each step, by value (D-32).

    Nothing moves while a warm-up holds back the steps.
    """

    @torch.no_grad()
    def on_step_end(self) -> None:
        """Copy the mean centre into every panel.

        Raises:
            NotImplementedError: a layer holds something else than panels.
        """
        if self.fit_params.skip_opt_step:
            return
        for layer in self.attached.get_detectors():
            if layer.type_label != "panel":
                raise NotImplementedError(
                    f"PanelCentring centres panels, but a layer holds {layer.type_label!r}"
                )
            centre = torch.stack([panel.xy for panel in layer.panels]).mean(0)
            for panel in layer.panels:
                panel.xy.copy_(centre)


class TieGradients(Callback):
    """Makes groups of panels move as one, by giving them one common gradient.

    Equal gradients give equal steps in every optimiser that treats its parameters alike, so panels
    that start together stay together, and modules keep their shape.

    Args:
        parameter: ``xy``, ``z`` or ``xy_span``, or ``budget`` for the shares of the budget.
        groups: indices of the panels that move as one, counted over all layers.
        how: ``tie`` shares the mean gradient; ``mirror`` shares it with the sign of the second half
            of each group turned (the two sides move in opposite directions).
    """

    def __init__(
        self, parameter: str, groups: Sequence[Sequence[int]], how: TieKind = "tie"
    ) -> None:
        self.parameter = parameter
        self.groups = [list(group) for group in groups]
        self.how = how

    @torch.no_grad()
    def on_backwards_end(self) -> None:
        """Replace the gradients of each group by their mean."""
        gradients = self._gradients()
        for group in self.groups:
            members = [g for g in (gradients[index] for index in group) if g is not None]
            if not members:
                continue
            signs = [1.0] * len(members)
            if self.how == "mirror":
                half = len(members) // 2
                signs[half:] = [-1.0] * (len(members) - half)
            pairs = list(zip(signs, members, strict=True))
            mean = torch.stack([sign * gradient for sign, gradient in pairs]).mean(0)
            for sign, gradient in pairs:
                gradient.copy_(sign * mean)

    def _gradients(self) -> list[Tensor | None]:
        """Views of the gradients, one a panel."""
        if self.parameter == "budget":
            shares = self.attached.volume.budget_weights
            return [None] * len(shares) if shares.grad is None else list(shares.grad.split(1))
        panels = detector_panels(self.attached.get_detectors())
        return [getattr(panel, self.parameter).grad for panel in panels]
