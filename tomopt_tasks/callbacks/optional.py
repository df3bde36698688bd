"""Parts that only some callbacks need, imported when one of them is used.

Fitting needs torch, numpy and pydantic only; figures, tables and HDF5 files are the named
exceptions, and fail with a sentence where their library is missing.
"""

import importlib
import sys
from typing import Any

from tomopt_tasks.core import UserError


def optional_module(name: str, *, purpose: str, install: str) -> Any:
    """Import a module now.

    Args:
        name: full name of the module.
        purpose: what it is needed for, as the subject of a sentence.
        install: what to install if it is missing.

    Raises:
        UserError: the module, or something that it imports, is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{purpose} needs {error.name}, which is not installed; run `pip install {install}`"
        ) from error


def drawing(module: str) -> Any:
    """A module of the plotting package, by its short name."""
    return optional_module(
        f"tomopt_tasks.plotting.{module}", purpose="drawing", install="matplotlib"
    )


def in_notebook() -> bool:
    """Whether this code runs in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"
