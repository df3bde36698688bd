"""A run on Prefect's pages: a progress bar, how it stands, a table of metrics, a report.

Published by the flow, not by tasks, so that a fully cached rerun shows the same. Nothing here may
end a fit: a failure to publish is logged once and forgotten.
"""

import json
import logging
import math
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
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate

from tomopt_tasks.reports.data import ReportData
from tomopt_tasks.reports.standing import Standing, metrics_of

EVERY = 2.0
"""Least seconds between two updates of the progress bar."""

STATUS_EVERY = 10.0
"""Least seconds between two updates of table and status of a running fit."""

SHARE = 1 / 30
"""The same as a share of the time so far: Prefect keeps every update for days, as an event."""

log = logging.getLogger(__name__)


class Page:
    """What a run shows; the keys of its artifacts begin with the run's id."""

    def __init__(self, run: str) -> None:
        """Nothing is published before the first call."""
        self._run = page_key(run)
        self._bar: UUID | None = None
        self._bar_at = self._table_at = -1e9
        self._began = time.monotonic()
        self._shown: dict[str, UUID] = {}
        self._silent = False

    def progress(
        self,
        done: int,
        total: int,
        rows: Sequence[Mapping[str, Any]],
        standing: Callable[[], Standing] | None = None,
    ) -> None:
        """Move the bar, and from time to time table and status, without flooding Prefect.

        Args:
            done: epochs that are done.
            total: epochs of the fit.
            rows: one row of metrics an epoch so far.
            standing: says how the run stands.
        """

        def tell() -> None:
            self.table(metrics_table(rows), "metrics")
            if standing is not None:
                self.status(standing())

        self._show(done, total, tell)

    def jobs(
        self,
        done: int,
        total: int,
        rows: Sequence[Mapping[str, Any]],
        standing: Callable[[], Standing],
    ) -> None:
        """The same for a campaign.

        Args:
            done: jobs that have ended.
            total: all jobs.
            rows: one row a job that has ended.
            standing: says how the campaign stands.
        """

        def tell() -> None:
            if rows:
                self.table(rows, "jobs")
            self.status(standing())

        self._show(done, total, tell)

    def now_and_then(self, tell: Callable[[], None]) -> None:
        """Call something that publishes, unless it is too early for it."""
        now = time.monotonic()
        if now - self._table_at >= max(STATUS_EVERY, SHARE * (now - self._began)):
            self._table_at = now
            self._safely(tell)

    def _show(self, done: int, total: int, tell: Callable[[], None]) -> None:
        now, last = time.monotonic(), done == total
        if last or now - self._bar_at >= EVERY:
            self._bar_at = now
            self._safely(lambda: self._move(100.0 * done / max(total, 1)))
        if last:
            self._table_at = -1e9
        self.now_and_then(tell)

    def table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Equal rows as a table, which later calls of the same name exchange."""
        key = f"{self._run}-{page_key(name)}"
        cells = [{place: _finite(value) for place, value in row.items()} for row in rows]

        def publish() -> None:
            if not self._exchange(key, json.dumps(cells)):
                made = create_table_artifact(cells, key=key, description=name)
                self._keep(key, made)

        self._safely(publish)

    def status(self, standing: Standing) -> None:
        """How the run stands: what was cached, what ran and why, and the loss so far."""
        key = f"{self._run}-status"

        def publish() -> None:
            from tomopt_tasks.reports.status import render_status  # noqa: PLC0415 - matplotlib

            text = render_status(standing)
            if not self._exchange(key, text):
                made = create_markdown_artifact(text, key=key, description="how it stands")
                self._keep(key, made)

        self._safely(publish)

    def text(self, lines: str, name: str) -> None:
        """Lines of a command as they are."""
        key = f"{self._run}-{page_key(name)}"
        block = f"```\n{lines}\n```"
        self._safely(lambda: create_markdown_artifact(block, key=key, description=name))

    def document(self, text: str, name: str, title: str) -> None:
        """Markdown that is drawn.

        Args:
            text: what it says.
            name: end of the artifact's key.
            title: described as.
        """
        key = f"{self._run}-{page_key(name)}"
        self._safely(lambda: create_markdown_artifact(text, key=key, description=title))

    def _keep(self, key: str, made: object) -> None:
        if isinstance(made, UUID):
            self._shown[key] = made

    def _exchange(self, key: str, data: str) -> bool:
        """Whether there was an artifact of this run whose data could be exchanged."""
        if key not in self._shown:
            return False
        with get_client(sync_client=True) as client:
            client.update_artifact(self._shown[key], ArtifactUpdate(data=data))
        return True

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

        self.document(render_markdown(data), "report", data.title)

    def _safely(self, publish: Callable[[], object]) -> None:
        try:
            publish()
        except Exception as error:  # noqa: BLE001 - a page is never worth a fit
            if not self._silent:
                log.warning("Prefect does not show this run completely: %s", error)
            self._silent = True


def page_key(text: str) -> str:
    """As the keys of artifacts must be: lower-case words with hyphens."""
    return re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")


def _short(value: Any) -> Any:  # noqa: ANN401
    """Six digits are enough to read."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _finite(value: Any) -> Any:  # noqa: ANN401
    """JSON has no word for NaN and infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def metrics_table(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The plain numbers of every epoch; metrics and learning rates in columns of their own."""
    table = []
    for row in rows:
        plain = {
            name: _short(value) for name, value in row.items() if not isinstance(value, dict | list)
        }
        rates = {f"rate {name}": _short(value) for name, value in (row.get("rates") or {}).items()}
        metrics = {f"metric {name}": _short(each) for name, each in metrics_of(row).items()}
        table.append({**plain, "epoch": int(row["epoch"]) + 1, **metrics, **rates})
    return table
