"""A trial of a search: the fit of a study and its predictions for the validation bank, no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tomopt_tasks.campaigns.plan import MemberPlan
from tomopt_tasks.campaigns.proposals import Curve, Pruner
from tomopt_tasks.campaigns.work import begun, timed
from tomopt_tasks.config.members import Member
from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.evaluation.record import squared_errors, with_best_cut
from tomopt_tasks.planning.inputs import TryInputs
from tomopt_tasks.planning.lookup import stopped
from tomopt_tasks.planning.plan import FITTED, Stage, plan_study
from tomopt_tasks.runs.manifest import run_id
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store

JUDGED = f"{FITTED} on valid"
"""Label of the stage that a trial ends with."""


@dataclass(frozen=True)
class Trial:
    """Values that were proposed, and how their study ended."""

    number: int
    """From 1."""
    values: Mapping[str, Any]
    """Entry of the space -> value or name of the point."""
    plan: MemberPlan | None = None
    """What it runs; None: the values make no valid study."""
    state: str = "waiting"
    """waiting, complete, pruned or failed."""
    error: float | None = None
    """MSE on the validation bank, in the unit of the target squared."""
    cost: float | None = None
    """Cost of all panels of the fitted detector."""
    curve: Curve = field(default_factory=dict)
    """Epochs so far -> training loss."""
    note: str = ""
    """Why it failed."""

    @property
    def name(self) -> str:
        """What it is called."""
        return f"trial {self.number}"

    @property
    def key(self) -> str:
        """Names the trial: the key of its last stage, a digest of all that it depends on."""
        return self.plan.stages[-1].key if self.plan is not None else ""

    @property
    def muons(self) -> int:
        """Training muons that its fit has looked at, each as often as it did."""
        if self.plan is None:
            return 0
        study = self.plan.member.study
        tried = (s.inputs.epochs for s in self.plan.stages if isinstance(s.inputs, TryInputs))
        epochs = len(self.curve) + (sum(map(len, tried)) if self.curve else 0)
        return epochs * study.scenes.train.n_volumes * study.muons.per_volume

    def objectives(self, names: Sequence[str]) -> tuple[float, ...] | None:
        """Values of the objectives; None unless it is complete."""
        if self.state != "complete" or self.error is None:
            return None
        found = {"error": self.error, "cost": self.cost or 0.0}
        return tuple(found[name] for name in names)


def trial_plan(member: Member) -> MemberPlan:
    """The stages of a trial: those of its study that lead to the predictions it is judged by."""
    stages = plan_study(member.study)
    last = next(stage for stage in stages if stage.label == JUDGED)
    needed = {last.key}
    for stage in reversed(stages):
        if stage.key in needed:
            needed |= set(stage.parents.values())
    kept = [stage for stage in stages if stage.key in needed]
    return MemberPlan(member, kept, run_id(member.study, stages))


def read_ending(trial: Trial, store: Store, pruner: Pruner) -> dict[str, Any] | None:
    """How a trial ended, from what is stored; None: something of it is missing.

    Args:
        trial: with a plan.
        store: where to look.
        pruner: says when it is given up.
    """
    assert trial.plan is not None
    refs: dict[str, Ref] = {}
    curve: dict[int, float] = {}
    for stage in trial.plan.stages:
        ref = stopped(stage, refs) or store.find(stage.kind, stage.key)
        if ref is None and stage.key != trial.key:
            ref = store.tombstone(stage.kind, stage.key)
        if ref is None and (stage.name == "fit_epoch" or stage.key == trial.key):
            return None
        if ref is None:
            continue
        refs[stage.key] = ref
        if stage.name == "fit_epoch" and _learn(curve, stage, ref) and pruner.prunes(curve):
            return {"state": "pruned", "curve": curve}
    return {**_judge(trial.plan, refs[trial.key], store), "curve": curve}


def _learn(curve: dict[int, float], stage: Stage, ref: Ref) -> bool:
    """Note the loss of an epoch; whether it has one of its own."""
    loss = ref.metrics.get("loss")
    if not isinstance(loss, (int, float)) or ref.key != stage.key:
        return False
    curve[int(stage.components["inputs"]["epoch"]) + 1] = float(loss)
    return True


def _judge(plan: MemberPlan, ref: Ref, store: Store) -> dict[str, Any]:
    """Error and cost of a fit by its predictions for the validation bank."""
    settings = plan.member.study.evaluation
    dataset = store.open_dataset(ref)
    arrays = {name: dataset.array(name) for name in dataset.names}
    found = Predictions.from_arrays(arrays, dataset.attrs).floored(settings.target_floor)
    found, _ = with_best_cut(found, found, settings)
    error = float(squared_errors(found, found, settings).mean())
    if not np.isfinite(error):
        return {"state": "failed", "note": "its error on the validation bank is no number"}
    return {"state": "complete", "error": error, "cost": found.budget_used}


def run_trial(url: str, plan: MemberPlan, pruner: Pruner) -> dict[str, Any]:
    """Run a trial in this process, to its end or until it is given up.

    Args:
        url: of the store.
        plan: see ``trial_plan``.
        pruner: says when it is given up.
    """

    def work() -> dict[str, Any]:
        curve: dict[int, float] = {}
        with begun(url, plan, "search") as run:
            for stage, ref in run.some({stage.key for stage in plan.stages}):
                if stage.name == "fit_epoch" and _learn(curve, stage, ref) and pruner.prunes(curve):
                    break
        return {"executed": len(run.executed), "cached": run.cached, "run": run.id}

    return timed(work)


def failed(trial: Trial, why: str) -> dict[str, Any]:
    """The ending of a trial that has no result."""
    return {"state": "failed", "note": why, "curve": trial.curve}


def invalid(number: int, values: Mapping[str, Any], error: UserError) -> Trial:
    """A trial whose values make no valid study."""
    return Trial(number, values, state="failed", note=" ".join(str(error).split()))
