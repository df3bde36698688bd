"""Prefect's settings: quiet, local, patient, JSON results. Import this before Prefect.

Prefect reads its environment when it is imported. Everything here is a default: what the user has
set stays. State goes below the project (``.tomopt/``), never into the home folder.
"""

import os

from tomopt_tasks.core import UserError
from tomopt_tasks.project import state_folder


def prepare_prefect() -> None:
    """Set the environment, and make the folder that Prefect keeps its state in.

    Raises:
        UserError: that folder cannot be made.
    """
    state = state_folder()
    defaults = {
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
        "PREFECT_HOME": str(state / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(state / "results"),
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "60",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    home = os.environ["PREFECT_HOME"]
    try:
        os.makedirs(home, exist_ok=True)  # noqa: PTH103 - Prefect makes no parents
    except OSError as error:
        raise UserError(
            f"Prefect's folder {home} cannot be made ({error.strerror}); set PREFECT_HOME to one "
            "that can be written, or use --runner plain"
        ) from error


prepare_prefect()
