"""Study files: read, merged, checked and resolved; written back; described for editors."""

from tomopt_tasks.core import lazy_exports

_HERE = "tomopt_tasks.config"

__all__ = [
    "Constraints",
    "ReportSettings",
    "Scenes",
    "Study",
    "dump_detector",
    "dump_study",
    "json_schema",
    "load_detector",
    "load_study",
]

__getattr__ = lazy_exports(
    _HERE,
    {
        "Constraints": f"{_HERE}.constraints",
        "ReportSettings": f"{_HERE}.report_settings",
        "Scenes": f"{_HERE}.study",
        "Study": f"{_HERE}.study",
        "dump_detector": f"{_HERE}.dump",
        "dump_study": f"{_HERE}.dump",
        "json_schema": f"{_HERE}.schema",
        "load_detector": f"{_HERE}.load",
        "load_study": f"{_HERE}.load",
    },
)
