"""Words, units and base classes that every package shares; imports neither torch nor Prefect.

Units everywhere: metre, GeV (c = 1), radian; radiation lengths X0 in metre; densities in kg/m3.
Frame: z points up, muons fly down; the passive volume's low corner in x and y is (0, 0); a layer's
``z`` is its top; grids are stored (z, x, y) with z index 0 the lowest layer.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

MUON_MASS = 0.1056583755
"""Muon mass [GeV] (PDG 2022)."""

SCATTER_COEF_A = 0.0136
"""Highland constant [GeV] (PDG review, passage of particles through matter)."""

SCATTER_COEF_B = 0.038
"""Highland logarithmic coefficient, natural logarithm (same source)."""


class Config(BaseModel):
    """Base of all settings: immutable, closed, finite."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class UserError(ValueError):
    """Something a user can mend; the command line prints it as one sentence and exits with 2."""


def lazy_exports(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """A module ``__getattr__`` that imports a public name's module at its first use.

    Settings modules must stay importable without torch (a plan starts in a fraction of a second),
    although their packages also export torch classes.

    Args:
        package: full name of the package that exports.
        where: public name -> full name of the module that defines it.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807, ANN401
        if name not in where:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(importlib.import_module(where[name]), name)

    return __getattr__
