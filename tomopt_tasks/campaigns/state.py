"""How far each member is, from the store and the manifests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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


class Times:
    """How long the bodies of stages took, as the manifests of a store tell.

    An epoch is made once: by the member itself, as a job that several members share, by a trial of
    a search, or by another run. So its own manifest is read first, then that of the campaign, then
    the others from the newest on, as far as is needed.
    """

    def __init__(self, store: Store, campaign: str) -> None:
        """Nothing is read before it is asked for.

        Args:
            store: where the manifests are.
            campaign: run of the campaign.
        """
        self._store = store
        self._known: dict[str, float] = {}
        self._read: set[str] = set()
        self._runs = self._later(campaign)

    def fit(self, plan: MemberPlan, refs: Mapping[str, Ref]) -> float | None:
        """Time that the epochs of a member took, those of starts that were given up included [s].

        None where it is not known of all.

        Args:
            plan: the member.
            refs: its results; an epoch after an early stop is none of its own.
        """
        epochs = [stage.key for stage in plan.stages if stage.name in ("fit_epoch", "try_start")]
        keys = [key for key in epochs if key in refs and refs[key].key == key]
        self._learn(plan.run)
        while not self._know(keys) and (run := next(self._runs, None)) is not None:
            self._learn(run)
        return sum(self._known[key] for key in keys) if keys and self._know(keys) else None

    def _later(self, campaign: str) -> Iterator[str]:
        yield campaign
        yield from self._store.recent_runs()

    def _know(self, keys: Sequence[str]) -> bool:
        return all(key in self._known for key in keys)

    def _learn(self, run: str) -> None:
        """Read a manifest: of equal stages the first that is read counts."""
        if run in self._read:
            return
        self._read.add(run)
        entries = self._store.read_run(run)
        made = last_made(entries)
        found = {key: row["seconds"] for key, row in made.items() if "seconds" in row}
        for job in (job for entry in entries for job in entry.get("jobs", {}).values()):
            found |= job.get("took", {})
        self._known = {key: float(took) for key, took in found.items()} | self._known
