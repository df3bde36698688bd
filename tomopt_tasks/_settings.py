"""Where the project lies, and Prefect's settings; import before Prefect, in every entry point.

Prefect reads its environment when it is imported. Everything here is a default: what the user has
set stays. State goes below the project (``.tomopt/``), never into the home folder.
"""

import os
from pathlib import Path

MARKS = ("prefect.yaml", "pyproject.toml", ".tomopt")
"""Files of which one marks the project folder."""


def project_root() -> Path:
    """The nearest folder around the current one that is marked as a project, else the current."""
    here = Path.cwd()
    marked = (
        folder for folder in (here, *here.parents) if any((folder / m).exists() for m in MARKS)
    )
    return next(marked, here)


def default_store() -> str:
    """The store of a run that names none: ``TOMOPT_STORE``, else ``data/store`` of the project."""
    return os.environ.get("TOMOPT_STORE") or str(project_root() / "data" / "store")


def prepare_prefect() -> None:
    """Set what Prefect reads at import: quiet, local, patient, JSON results."""
    state = project_root() / ".tomopt"
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "false",
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(state / "results"),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


prepare_prefect()
