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


class Hdf5PredictionsSettings(Config):
    """Predictions for the test volumes beside the truth, a file a design: needs h5py.

    ``predictions-<design>.h5`` has one row a volume in ``preds`` and ``targs`` (single precision),
    as the ``Save2HDF5PredHandler`` of a notebook writes them; of materials, the likeliest.
    """

    kind: Literal["hdf5_predictions"] = "hdf5_predictions"
    """Name of this form."""
    truth: Literal["target", "x0"] | None = None
    """What predictions stand beside: the target of the volume, or the radiation lengths of its
    voxels [m]; null: the target of numbers, ``x0`` where voxels are predicted."""
    compression: Literal["lzf", "gzip", "none"] = "lzf"
    """Filter of HDF5."""


class ReportSettings(Config):
    """How the report looks; nothing is computed anew when this changes."""

    title: str = ""
    """Title of the report; empty: the name of the study."""
    monitors: tuple[MonitorSettings, ...] = ()
    """Films of the fit, in the report and beside it; each kind once; empty: none."""
    files: tuple[Hdf5PredictionsSettings, ...] = ()
    """Results in the form of other programs, beside the report; each kind once; empty: none."""

    @field_validator("monitors")
    @classmethod
    def _check_monitors(cls, monitors: tuple[MonitorSettings, ...]) -> tuple[MonitorSettings, ...]:
        return each_kind_once(monitors)

    @field_validator("files")
    @classmethod
    def _check_files(
        cls, files: tuple[Hdf5PredictionsSettings, ...]
    ) -> tuple[Hdf5PredictionsSettings, ...]:
        return each_kind_once(files)
