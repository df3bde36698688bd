"""How muons scatter in matter."""

from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tomopt_tasks.core import Config
from tomopt_tasks.input_files import InputFile
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
    energy_loss: Flag = False
    """Muons lose energy by continuous slowing down, and may stop; every voxel must be of a
    material of the table."""


class NoScatterSettings(Config):
    """Muons fly straight through everything."""

    kind: Literal["none"] = "none"
    """Name of this model."""


class TableScatterSettings(InputFile):
    """Scattering angles from a table, with the tails of single scattering.

    Our table is Moliere's theory with nuclei of finite size, for every material of the table of
    materials; ``scattering.table`` says what one of your own must hold.
    """

    kind: Literal["table"] = "table"
    """Name of this model."""
    file: str = ""
    """An npz file, relative to the file that names it; empty: our table."""
    energy_loss: Flag = False
    """Muons lose energy by continuous slowing down, and may stop; every voxel must be of a
    material of the table."""


def built_in_table() -> Path:
    """Our own table, made by ``scattering.make_table``."""
    return Path(str(files("tomopt_tasks").joinpath("moliere.npz")))


ScatterSettings = Annotated[
    HighlandSettings | TableScatterSettings | NoScatterSettings, Field(discriminator="kind")
]
"""Any scatter model."""
