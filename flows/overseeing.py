"""What people and programs outside see of a campaign: which jobs run, how far, and what failed."""

import platform
import re
import time
from collections.abc import Mapping
from typing import Any

from flows.telling import About, Voice
from tomopt_tasks.campaigns.doing import run_name
from tomopt_tasks.campaigns.outputs import Finished
from tomopt_tasks.campaigns.show import job_line
from tomopt_tasks.campaigns.slots import Job, Outcome
from tomopt_tasks.commands.answer import duration
from tomopt_tasks.config.members import LoadedCampaign
from tomopt_tasks.reports.artifacts import Page
from tomopt_tasks.reports.standing import Standing
from tomopt_tasks.runs.closing import campaign_command
from tomopt_tasks.store.store import Store

TRIAL = re.compile(r"trial (\d+)")
MOST_ROWS = 50
"""Rows of a table on a status page."""


class Overseer:
    """Hears how the jobs of a campaign go on, and tells it."""

    def __init__(self, plan: LoadedCampaign, store: Store) -> None:
        """Give the flow run the name of the campaign's run, and tags that people can search."""
        settings, study = plan.settings, plan.members[0].study
        self.store = store
        self.plan = plan
        self.run = run_name(plan)
        self.page = Page(self.run)
        self.facts = {"campaign": settings.campaign, "host": platform.node()}
        labels = {"run": self.run, "store": store.url}
        self.voice = Voice(About("campaign", self.run, self.facts, labels, study.notify))
        self._running: dict[str, tuple[Job, float]] = {}
        self._rows: list[dict[str, str]] = []
        self._counts = (0, 0)
        self._trials = 0

    def began(self, job: Job) -> None:
        """A job has been taken."""
        self._running[job.name] = (job, time.monotonic())
        self.page.now_and_then(lambda: self.page.status(self.standing("running")))

    def waited(self) -> None:
        """Time has passed."""
        self.page.now_and_then(lambda: self.page.status(self.standing("running")))

    def ended(self, outcome: Outcome, n: int, total: int) -> None:
        """A job has ended: move the bar, and tell it."""
        self._running.pop(outcome.name, None)
        self._counts = (n, total)
        row = {"job": outcome.name, "state": outcome.state, "error": outcome.error}
        self._rows.append(row)
        self.voice.log(job_line(outcome, n, total))
        self.voice.event(f"job.{'finished' if outcome.state == 'done' else 'failed'}", row)
        self.page.jobs(*self._far(outcome.name), self._rows, lambda: self.standing("running"))

    def _far(self, job: str) -> tuple[int, int]:
        """How far the bar is: jobs of a list; of a search, whose jobs come in batches, trials."""
        search, trial = self.plan.settings.search, TRIAL.fullmatch(job)
        if search is None:
            return self._counts
        self._trials = int(trial[1]) if trial else self._trials
        return self._trials, search.trials + 1  # and the comparison

    def finished(self, done: Finished) -> None:
        """All that came out, from a cached run too."""
        self.page.jobs(1, 1, self._rows, lambda: self.standing("running"))
        for label, board in done.leaderboards().items():
            self.page.table(board, f"leaderboard {label}".strip())
        self.page.document(done.markdown(), "report", self.plan.title)

    def standing(self, state: str, words: str = "") -> Standing:
        """How the campaign stands now."""
        n, total = self._counts
        bad = [row for row in self._rows if row["state"] != "done"]
        kind = "jobs" if self.plan.settings.search is None else "jobs of this batch"
        parts = [f"{n} of {total} {kind} have ended" if total else "No job has ended"]
        parts += [f"{len(bad)} without a result"] if bad else []
        now = self._now() if state == "running" else []
        return Standing(
            run=self.run,
            state=state,
            progress=f"{', '.join(parts)}. What is stored already is no job.",
            tables={"Now": now[:MOST_ROWS], "Without a result": bad[:MOST_ROWS]},
            words=words,
            facts=self.facts,
        )

    def _now(self) -> list[dict[str, str]]:
        """The jobs that run, with epoch and loss of each."""
        stored = set(self.store.keys("checkpoint")) if self._running else set()
        rows = []
        for job, began in self._running.values():
            done = [key for key in job.epochs if key in stored]
            epochs = f"{len(done)} of {len(job.epochs)} epochs" if job.epochs else ""
            loss = self._loss(done[-1]) if done else ""
            took = duration(time.monotonic() - began)
            rows.append({"job": job.name, "so far": epochs, "loss": loss, "for": took})
        return rows

    def _loss(self, key: str) -> str:
        """Loss of a stored epoch; none where no volume could be predicted."""
        ref = self.store.find("checkpoint", key)
        loss = ref.metrics.get("loss", "") if ref is not None else ""
        return f"{loss:.4g}" if isinstance(loss, float) else "none" if loss is None else ""

    def again(self) -> str:
        """What a person does next."""
        command = campaign_command(self.plan.file, self.plan.overrides, self.store.url)
        return (
            "What is stored will not run again. Run it again with the same parameters to go on, "
            f"or: `{command}`"
        )

    def result(self) -> tuple[str, Mapping[str, Any]]:
        """How many jobs there were."""
        n = len(self._rows)
        words = f"{n} job{'' if n == 1 else 's'} ran" if n else "all was stored already"
        return words, {"jobs": n}
