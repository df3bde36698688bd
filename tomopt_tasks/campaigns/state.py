"""How far each member is, from the store and the manifests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.campaigns.plan import CampaignPlan, MemberPlan, complete
from tomopt_tasks.runs.manifest import last_made
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class MemberState:
    """One member."""

    plan: MemberPlan
    state: str
    """done, failed, begun or waiting."""
    stages: int
    """Of its stages, those whose result is stored."""
    epochs: tuple[int, int]
    """Epochs that are stored, and all."""
    note: str = ""
    """Why it failed, or when it began."""

    @property
    def done(self) -> bool:
        """Whether all its results are stored."""
        return self.state == "done"


def member_states(
    plan: CampaignPlan, refs: Mapping[str, Ref], store: Store | None
) -> list[MemberState]:
    """The state of every member.

    Args:
        plan: the campaign.
        refs: see ``look_up_all``.
        store: where the manifests are; None: there is none yet.
    """
    return [_state(each, refs, store) for each in plan.members]


def _state(plan: MemberPlan, refs: Mapping[str, Ref], store: Store | None) -> MemberState:
    stored = [stage for stage in plan.stages if stage.key in refs]
    epochs = [stage for stage in plan.stages if stage.name == "fit_epoch"]
    counts = len(stored), (sum(stage.key in refs for stage in epochs), len(epochs))
    if complete(plan, refs):
        return MemberState(plan, "done", *counts)
    entries = store.read_run(plan.run) if store is not None else []
    if not entries:
        return MemberState(plan, "waiting", *counts)
    last = entries[-1]
    if last["event"] == "failed":
        return MemberState(plan, "failed", *counts, " ".join(str(last.get("error")).split()))
    word = "running, or killed, since" if last["event"] == "started" else f"{last['event']} at"
    return MemberState(plan, "begun", *counts, f"{word} {last['at']}")


def fit_seconds(plan: MemberPlan, store: Store) -> float | None:
    """Time that the epochs of a member took [s]; None where it is not known of all."""
    made: Mapping[str, Mapping[str, Any]] = last_made(store.read_run(plan.run))
    keys = [stage.key for stage in plan.stages if stage.name == "fit_epoch"]
    if not keys or not all(key in made for key in keys):
        return None
    return sum(float(made[key]["seconds"]) for key in keys)
