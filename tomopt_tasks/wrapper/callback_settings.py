"""Callbacks that a phase can name by ``kind``; what else watches a fit has entries of its own."""

from collections.abc import Mapping
from typing import Annotated, Literal, get_args

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.own import OwnPart
from tomopt_tasks.quantities import Count, Flag, Number


class GradientRecordSettings(Config):
    """Names the source of a value that is not finite: which muon, panel and quantity.

    The sentences are in the row of each epoch and in the log.
    """

    kind: Literal["gradient_record"] = "gradient_record"
    """Name of this callback."""
    max_sources: Count = 20
    """Finds to keep; >= 1."""


class NoMoreNaNsSettings(Config):
    """Takes gradients that are not finite as zero, so that the others still move the panels."""

    kind: Literal["no_more_nans"] = "no_more_nans"
    """Name of this callback."""


class PanelCentringSettings(Config):
    """Moves the panels of each layer to their common centre after every step."""

    kind: Literal["panel_centring"] = "panel_centring"
    """Name of this callback."""


class BestKeeperSettings(Config):
    """The phase ends with the parameters that had the smallest loss, not with the last.

    Where there is a main metric, with those that were best in it. What training volumes say belongs
    to the parameters before the updates of their epoch, what validation volumes say (``watch:
    valid``) to those after them.
    """

    kind: Literal["best_keeper"] = "best_keeper"
    """Name of this callback."""


class CostCoefWarmupSettings(Config):
    """Sets the weight of the cost term to the median error of the training volumes.

    The detector stands still meanwhile, as in a search of rates. For losses of one volume with a
    target budget.
    """

    kind: Literal["cost_coef_warmup"] = "cost_coef_warmup"
    """Name of this callback."""
    epochs: Count = 1
    """Epochs that it looks at; >= 1; they come before the epochs of the phase."""


class LinearCorrectionSettings(Config):
    """Corrects predictions by the straight line that fits those of the update before best.

    The loss then judges corrected predictions: ``volume_mse`` with ``correct: false`` or one of
    your own; the others for numbers have a line of their own, or need none. A phase goes on with
    the line of the one before.
    """

    kind: Literal["linear_correction"] = "linear_correction"
    """Name of this callback."""
    weight: Number = 1.0
    """Slope before the first update; any number; with 0 that update moves nothing."""
    bias: Number = 0.0
    """Intercept before the first update, in the unit of the target ([m] of heights); any number."""


class CalibratedRMSESettings(Config):
    """A metric: error of the predictions of each epoch, corrected by the best straight line.

    Root mean square, in the unit of the target; of the validation volumes (``watch: valid``) or of
    the training volumes.
    """

    kind: Literal["calibrated_rmse"] = "calibrated_rmse"
    """Name of this callback."""
    main_metric: Flag = True
    """Early stopping and the best keeper judge by it and not by the loss; of several main metrics,
    by the first of your own."""


class OwnCallbackSettings(OwnPart):
    """A callback of the user's own; written as ``kind: my_module:MyCallback``.

    The value of a subclass of ``EvalMetric`` is in the row of every epoch.
    """

    first: Flag = False
    """Runs before the callbacks of the package, e.g. to alter predictions, and not after them."""


_Any = (
    GradientRecordSettings
    | NoMoreNaNsSettings
    | PanelCentringSettings
    | BestKeeperSettings
    | CostCoefWarmupSettings
    | LinearCorrectionSettings
    | CalibratedRMSESettings
    | OwnCallbackSettings
)
CallbackSettings = Annotated[_Any, Field(discriminator="kind")]
"""Any callback that a study can name."""

CALLBACKS: Mapping[str, type[Config]] = {
    part.model_fields["kind"].default: part for part in get_args(_Any)
}
"""Kind -> settings, of every callback."""
