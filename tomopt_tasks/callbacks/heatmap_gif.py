"""A film of a heat-map detector (spec 9.11)."""

from typing import Any, ClassVar, TypedDict

import torch
from torch import Tensor

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.optional import drawing


class ResponseMap(TypedDict):
    """Relative efficiency on a grid (x, y), and the range that it covers: x, x, y, y [m]."""

    values: Tensor
    extent: list[float]


@torch.no_grad()
def response_map(panel: Any, n_points: int = 200) -> ResponseMap:
    """Relative efficiency of a heat map, at 0 to 1, twice as wide as its first square.

    Args:
        panel: a ``DetectorHeatMap``.
        n_points: points along each axis.
    """
    centre, reach = panel.xy_fix, 2 * float(panel.delta_xy)
    step = torch.linspace(-reach, reach, n_points, dtype=centre.dtype, device=centre.device)
    grid = torch.cartesian_prod(centre[0] + step, centre[1] + step)
    values = (panel.get_efficiency(grid) / panel.efficiency).clamp(0, 1)
    x, y = (float(value) for value in centre)
    return ResponseMap(
        values=values.reshape(n_points, n_points).to(torch.float32).cpu(),
        extent=[x - reach, x + reach, y - reach, y + reach],
    )


class HeatMapGif(Callback):
    """Makes a film of the first heat map of the first layer, one picture a training epoch.

    Args:
        gif_filename: name of the film in ``cb_savepath``.
        gif_length: duration of the film [s].
    """

    remembers: ClassVar[tuple[str, ...]] = ("maps",)

    def __init__(self, gif_filename: str = "heatmap.gif", gif_length: float = 10.0) -> None:
        self.gif_filename = gif_filename
        self.gif_length = gif_length
        self.maps: list[ResponseMap] = []

    def _first(self) -> Any:
        layer = self.attached.get_detectors()[0]
        if layer.type_label != "heatmap":
            raise NotImplementedError(
                f"HeatMapGif draws heat maps, but the first layer holds {layer.type_label!r} "
                "detectors; use PanelMetricLogger for panels"
            )
        return layer.panels[0]

    def on_train_begin(self) -> None:
        """Start a new film.

        Raises:
            NotImplementedError: the first layer holds no heat map.
        """
        super().on_train_begin()
        self._first()
        self.maps = []

    def on_epoch_begin(self) -> None:
        """Take a picture."""
        if self.fit_params.state == "train":
            self.maps.append(response_map(self._first()))

    def on_train_end(self) -> None:
        """Take the last picture and write the film."""
        if self.fit_params.cb_savepath is None:
            return
        draw = drawing("heatmap").plot_response_map
        pictures = (draw(found) for found in [*self.maps, response_map(self._first())])
        path = self.fit_params.cb_savepath / self.gif_filename
        drawing("figures").save_gif(pictures, path, self.gif_length)
