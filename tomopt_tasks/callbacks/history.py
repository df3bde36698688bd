"""The course of a fit as plain numbers, ready to be drawn or stored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypedDict

from tomopt_tasks.callbacks.base import detector_panels


class PanelView(TypedDict):
    """Where a panel is, in plain numbers that any checkpoint can hold."""

    pos: str
    xy: list[float]
    z: float
    span: list[float]
    smooth: float | None


class Box(TypedDict):
    """The passive volume: widths, bottom and top [m]."""

    lw: list[float]
    z: list[float]


@dataclass(frozen=True)
class History:
    """What a metric logger has seen; every field may be empty."""

    training: Sequence[float] = ()
    """Loss of every update."""
    validation: Sequence[float] = ()
    """Mean loss of every validation epoch."""
    sub_losses: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Share of each term in the loss, one number an epoch."""
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Name -> one number an epoch."""
    lower_is_better: Mapping[str, bool] = field(default_factory=dict)
    """Name of a metric -> direction; lower if it is not named."""
    batches_per_epoch: int = 1
    """Updates an epoch."""
    panels: Sequence[PanelView] = ()
    """The detector at the end."""
    box: Box | None = None
    """The passive volume."""

    def until(self, n_training: int, n_epochs: int, panels: Sequence[PanelView] = ()) -> "History":
        """The course up to an earlier moment.

        Args:
            n_training: updates that had been made.
            n_epochs: epochs that had ended.
            panels: the detector at that moment.
        """
        return replace(
            self,
            training=self.training[:n_training],
            validation=self.validation[:n_epochs],
            sub_losses={name: values[:n_epochs] for name, values in self.sub_losses.items()},
            metrics={name: values[:n_epochs] for name, values in self.metrics.items()},
            panels=panels,
        )

    @property
    def epoch_means(self) -> list[float]:
        """Mean training loss of every complete epoch."""
        n = self.batches_per_epoch
        starts = range(0, len(self.training) - n + 1, n)
        return [sum(self.training[start : start + n]) / n for start in starts]


def panel_views(detectors: Iterable[Any]) -> list[PanelView]:
    """The panels of some detector layers; heat maps as the square that they started from."""
    layers = list(detectors)
    positions = [layer.pos for layer in layers for _ in layer.panels]
    panels = detector_panels(layers)
    return [_view(pos, panel) for pos, panel in zip(positions, panels, strict=True)]


def _view(pos: str, panel: Any) -> PanelView:
    rectangular = hasattr(panel, "get_scaled_xy_span")
    xy = (panel.xy if rectangular else panel.xy_fix).detach()
    span = panel.get_scaled_xy_span() if rectangular else panel.delta_xy * xy.new_ones(2)
    smooth = getattr(panel, "smooth", None)
    return PanelView(
        pos=pos,
        xy=[float(value) for value in xy],
        z=float(panel.z.detach()),
        span=[float(value) for value in span.detach()],
        smooth=None if smooth is None else float(smooth),
    )


def passive_box(volume: Any) -> Box:
    """The passive range of a volume."""
    return Box(
        lw=[float(width) for width in volume.lw],
        z=[float(z) for z in volume.get_passive_z_range()],
    )
