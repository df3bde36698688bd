"""From scenes and muons to muon banks."""

from tomopt_tasks.core import lazy_exports

__all__ = ["COLUMNS", "transport"]

_HERE = "tomopt_tasks.transport"

__getattr__ = lazy_exports(_HERE, {"COLUMNS": f"{_HERE}.bank", "transport": f"{_HERE}.bank"})
