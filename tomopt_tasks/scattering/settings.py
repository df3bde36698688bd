"""How muons scatter in matter."""

from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.quantities import Flag, PositiveLength


class HighlandSettings(Config):
    """Gaussian scattering with the width of Highland, Lynch and Dahl (PDG review)."""

    kind: Literal["highland"] = "highland"
    """Name of this model."""
    log_term: Literal["path", "step", "none"] = "path"
    """Depth in the logarithm: of the whole path so far (independent of steps), of each step
    (compat: TomOpt), or no logarithm."""
    beta: Flag = True
    """Divide by beta c p; false is compat: TomOpt divides by p."""
    step: PositiveLength = 0.01
    """Length of a step [m]; > 0; read by ``log_term: step`` only."""
    displacement_sign: Literal[1, -1] = 1
    """Sign between displacement and deflection; -1 is compat: TomOpt's opposite sign (D-01)."""


class NoScatterSettings(Config):
    """Muons fly straight through everything."""

    kind: Literal["none"] = "none"
    """Name of this model."""


ScatterSettings = Annotated[HighlandSettings | NoScatterSettings, Field(discriminator="kind")]
"""Any scatter model."""
