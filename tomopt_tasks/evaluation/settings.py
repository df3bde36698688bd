"""How designs are judged."""

from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Count, Seed


class EvaluationSettings(Config):
    """Figures of merit on the test bank."""

    edges: Literal["hard", "smooth"] = "hard"
    """Panels end at their edge, or keep the soft response of the training."""
    calibrate_on: Literal["valid"] = "valid"
    """Bank that the correction is fitted on."""
    correction: Literal["linear", "none"] = "linear"
    """Correction of the predictions before they are judged."""
    bootstrap: Annotated[int, Field(strict=True, ge=100)] = 2000
    """Bootstrap replicates of the confidence intervals; >= 100."""
    exposures: tuple[Count, ...] = ()
    """Muons per volume at which the error is shown, ascending, the last is what the table shows;
    each <= muons.per_volume; empty: an eighth, a quarter, half and all of muons.per_volume."""
    seed: Seed = 1
    """Names the random streams of hits and bootstrap; default: the seed of the study."""
