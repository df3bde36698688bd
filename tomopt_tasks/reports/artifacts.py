"""A run on Prefect's pages: one progress bar, one table of metrics, one report.

Published by the flow, not by tasks, so that a fully cached rerun shows the same. Nothing here may
end a fit: a failure to publish is logged once and forgotten.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from tomopt_tasks import _settings  # isort: skip  # noqa: F401 - before Prefect
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from tomopt_tasks.reports.data import ReportData

EVERY = 2.0
"""Least seconds between two updates of the progress bar."""

TABLE_EVERY = 20.0
"""Least seconds between two versions of the table of a running fit: Prefect keeps them all."""

log = logging.getLogger(__name__)


class Page:
    """What a run shows; the keys of its artifacts begin with the run's id."""

    def __init__(self, run: str) -> None:
        """Nothing is published before the first call."""
        self._run = _key(run)
        self._bar: UUID | None = None
        self._bar_at = self._table_at = -1e9
        self._silent = False

    def progress(self, done: int, total: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Move the bar, and from time to time the table, at most once in ``EVERY`` seconds.

        Args:
            done: epochs that are done.
            total: epochs of the fit.
            rows: one row of metrics an epoch so far.
        """
        self._show(done, total, lambda: self.table(metrics_table(rows), "metrics"))

    def jobs(self, done: int, total: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """The same for a campaign.

        Args:
            done: jobs that have ended.
            total: all jobs.
            rows: one row a job that has ended.
        """
        self._show(done, total, lambda: self.table(rows, "jobs"))

    def _show(self, done: int, total: int, table: Callable[[], None]) -> None:
        now, last = time.monotonic(), done == total
        if last or now - self._bar_at >= EVERY:
            self._bar_at = now
            self._safely(lambda: self._move(100.0 * done / max(total, 1)))
        if last or now - self._table_at >= TABLE_EVERY:
            self._table_at = now
            table()

    def table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Equal rows as a table."""
        key, cells = f"{self._run}-{_key(name)}", [dict(row) for row in rows]
        self._safely(lambda: create_table_artifact(cells, key=key, description=name))

    def report(self, data: ReportData) -> None:
        """The comparison, the loss curve and the stage graph; they render offline."""
        self._safely(lambda: self._report(data))

    def _move(self, percent: float) -> None:
        if self._bar is None:
            made = create_progress_artifact(percent, f"{self._run}-progress", "how far it is")
            self._bar = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(self._bar, percent)

    def _report(self, data: ReportData) -> None:
        from tomopt_tasks.reports.markdown import render_markdown  # noqa: PLC0415 - matplotlib

        key = f"{self._run}-report"
        create_markdown_artifact(render_markdown(data), key=key, description=data.title)

    def _safely(self, publish: Callable[[], object]) -> None:
        try:
            publish()
        except Exception as error:  # noqa: BLE001 - a page is never worth a fit
            if not self._silent:
                log.warning("Prefect does not show this run completely: %s", error)
            self._silent = True


def _key(text: str) -> str:
    """As the keys of artifacts must be: lower-case words with hyphens."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")


def metrics_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The plain numbers of every epoch, with learning rates in columns of their own."""
    table = []
    for row in rows:
        plain = {name: value for name, value in row.items() if not isinstance(value, dict | list)}
        rates = {f"rate {name}": value for name, value in (row.get("rates") or {}).items()}
        table.append({**plain, "epoch": int(row["epoch"]) + 1, **rates})
    return table
