"""The manifest of a campaign: what was asked, and how each job ended; no part of any key."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tomopt_tasks.campaigns.plan import CampaignPlan
from tomopt_tasks.campaigns.slots import Outcome
from tomopt_tasks.runs.manifest import now, provenance
from tomopt_tasks.store.store import Store


@contextmanager
def recorded(plan: CampaignPlan, store: Store, outcomes: Mapping[str, Outcome]) -> Iterator[None]:
    """Write start and end of a campaign to its manifest, however it ends.

    Args:
        plan: what is run.
        store: where the manifest lies.
        outcomes: filled by the time of the end.
    """
    begun = time.perf_counter()
    notify = plan.campaign.members[0].study.notify
    start = {"event": "started", "at": now(), "runner": "campaign", **provenance()}
    start |= {
        "file": plan.campaign.file,
        "changes": list(plan.campaign.overrides),
        "notify": notify.model_dump(mode="json") if notify is not None else None,
        "campaign": plan.campaign.settings.model_dump(mode="json"),
        "members": {each.name: each.run for each in plan.members},
    }
    store.append_run(plan.run, start)
    event = "interrupted"
    try:
        yield
        event = "finished"
    finally:
        end = {"event": event, "at": now(), "seconds": round(time.perf_counter() - begun, 3)}
        store.append_run(plan.run, end | {"jobs": {n: _row(each) for n, each in outcomes.items()}})


def _row(outcome: Outcome) -> dict[str, Any]:
    return {"state": outcome.state, "error": outcome.error, **outcome.result}


def read_manifest(plan: CampaignPlan, store: Store) -> list[dict[str, Any]]:
    """All entries of the manifest, oldest first."""
    return store.read_run(plan.run)
