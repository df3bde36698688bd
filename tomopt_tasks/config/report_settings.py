"""How a report looks, and which films of the fit are part of it."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field, field_validator

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Unit
from tomopt_tasks.wrapper.record_settings import each_kind_once

Length = Annotated[float, Field(gt=0, le=600), Unit("s")]
Pictures = Annotated[int, Field(strict=True, ge=1, le=1000)]


class MetricLoggerSettings(Config):
    """A film of the losses as they grew, from the rows of the epochs: ``metric_logger.gif``."""

    kind: Literal["metric_logger"] = "metric_logger"
    """Name of this monitor."""
    length: Length = 10.0
    """Duration of the film [s]; > 0, <= 600."""
    pictures: Pictures = 40
    """Pictures at most, 1 to 1000, spread evenly from the start to the end; 1: the end alone."""


class PanelMetricLoggerSettings(Config):
    """The same film, with the panels as they move: ``panel_metric_logger.gif``."""

    kind: Literal["panel_metric_logger"] = "panel_metric_logger"
    """Name of this monitor."""
    length: Length = 10.0
    """Duration of the film [s]; > 0, <= 600."""
    pictures: Pictures = 40
    """Pictures at most, 1 to 1000, spread evenly from the start to the end; 1: the end alone."""


class HeatMapGifSettings(Config):
    """A film of the first heat map of the first layer: ``heat_map_gif.gif``."""

    kind: Literal["heat_map_gif"] = "heat_map_gif"
    """Name of this monitor."""
    length: Length = 10.0
    """Duration of the film [s]; > 0, <= 600."""
    pictures: Pictures = 40
    """Pictures at most, 1 to 1000, spread evenly from the start to the end; 1: the end alone."""


_Any = MetricLoggerSettings | PanelMetricLoggerSettings | HeatMapGifSettings
MonitorSettings = Annotated[_Any, Field(discriminator="kind")]
"""Any monitor that a study can name."""

MONITORS: Mapping[str, type[Config]] = {
    part.model_fields["kind"].default: part for part in get_args(_Any)
}
"""Kind -> settings, of every monitor."""


class ReportSettings(Config):
    """How the report looks; nothing is computed anew when this changes."""

    title: str = ""
    """Title of the report; empty: the name of the study."""
    monitors: tuple[MonitorSettings, ...] = ()
    """Films of the fit, in the report and beside it; each kind once; empty: none."""

    @field_validator("monitors")
    @classmethod
    def _check_monitors(cls, monitors: tuple[MonitorSettings, ...]) -> tuple[MonitorSettings, ...]:
        return each_kind_once(monitors)
