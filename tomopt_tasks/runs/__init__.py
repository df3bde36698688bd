"""Running a study against a store: bodies, manifest, progress, results and the files for people."""

from tomopt_tasks.core import lazy_exports

_HERE = "tomopt_tasks.runs"

__all__ = ["Run", "begin", "find_run", "judge", "perform", "results_of", "run_all", "write_report"]

__getattr__ = lazy_exports(
    _HERE,
    {
        "Run": f"{_HERE}.run",
        "begin": f"{_HERE}.run",
        "find_run": f"{_HERE}.manifest",
        "judge": f"{_HERE}.judging",
        "perform": f"{_HERE}.body",
        "results_of": f"{_HERE}.results",
        "run_all": f"{_HERE}.run",
        "write_report": f"{_HERE}.outputs",
    },
)
