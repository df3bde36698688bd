"""What ends a fit early or undoes its mistakes; each is off unless it is written down."""

from typing import Annotated

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Number, PositiveNumber


class EarlyStoppingSettings(Config):
    """Ends the fit when the loss, or the main metric, has not improved for some epochs."""

    patience: Count = 5
    """Epochs without improvement; >= 1."""
    min_change: Annotated[Number, Field(ge=0)] = 0.0
    """Smallest improvement that counts, in the unit of the loss or metric; >= 0."""


class DivergenceGuardSettings(Config):
    """Keeps updates with a useless loss away from the detector, and ends a fit that is lost."""

    factor: Annotated[Number, Field(gt=1)] = 100.0
    """Multiple of the smallest loss above which an update is bad; > 1; a factor."""
    patience: Count = 3
    """Bad updates in a row that end the fit; >= 1."""
    max_rise: PositiveNumber | None = None
    """Distance above the smallest loss that is bad, in its unit; > 0; null: no such limit."""


class Guards(Config):
    """What watches over a phase."""

    early: EarlyStoppingSettings | None = None
    """End early; null: never."""
    divergence: DivergenceGuardSettings | None = None
    """Keep bad updates away; null: take every update."""
