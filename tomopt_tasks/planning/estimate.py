"""What a plan will cost, judged by what its stages have cost before."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from statistics import median
from typing import Any

from tomopt_tasks.planning.history import History
from tomopt_tasks.planning.inputs import BankInputs, PredictInputs, TryInputs, VolumesInputs
from tomopt_tasks.planning.lookup import Step
from tomopt_tasks.planning.plan import Stage

RECENT = 50
"""Measured stages of one name that a rate is taken from."""


@dataclass(frozen=True)
class Estimate:
    """Sums over the stages that would run."""

    seconds: float
    """Time of the bodies [s]."""
    nbytes: int
    """What they add to the store [bytes]."""
    peak_mb: float
    """The most memory that such stages have taken [MB]; 0: not known."""
    unknown: tuple[str, ...]
    """Names of stages that have never run here; not in the sums."""
    measured: int
    """Stages of earlier runs that this is judged by."""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {**asdict(self), "unknown": list(self.unknown)}


def work_of(stage: Stage, plan: Mapping[str, Stage]) -> float:
    """How much a stage has to do, in a unit of its own: its time and its size grow with it.

    Args:
        stage: the stage.
        plan: key -> stage, of all its ancestors.
    """
    inputs = stage.inputs
    if isinstance(inputs, VolumesInputs):
        return float(inputs.scene.n_volumes * prod(inputs.world.shape))
    volumes = plan.get(stage.parents.get("volumes", ""))
    if volumes is None or not isinstance(volumes.inputs, VolumesInputs):
        return 1.0
    n_volumes = volumes.inputs.scene.n_volumes
    if isinstance(inputs, BankInputs):
        return float(n_volumes * inputs.muons.per_volume)
    if isinstance(inputs, PredictInputs):
        return float(n_volumes * sum(inputs.exposures) * (1 + len(inputs.fiducial_cuts)))
    bank = next(plan[key].inputs for role, key in stage.parents.items() if role.startswith("bank"))
    times = len(inputs.epochs) if isinstance(inputs, TryInputs) else 1
    return float(n_volumes * times * bank.muons.per_volume) if isinstance(bank, BankInputs) else 1.0


def estimate(steps: Sequence[Step], history: History) -> Estimate:
    """The cost of the stages that would run.

    Args:
        steps: a plan, looked up.
        history: measures of earlier runs.
    """
    plan = {step.stage.key: step.stage for step in steps}
    measures = _measures(history)
    seconds = nbytes = peak = 0.0
    unknown: dict[str, None] = {}
    names = set()
    for stage in (step.stage for step in steps if step.ref is None):
        rates = measures.get(stage.name)
        if not rates:
            unknown[stage.name] = None
            continue
        names.add(stage.name)
        work = work_of(stage, plan)
        seconds += work * median(row["seconds"] / row["work"] for row in rates)
        nbytes += work * median(row["nbytes"] / row["work"] for row in rates)
        peak = max(peak, *(row.get("peak_mb", 0.0) for row in rates))
    judged = sum(len(measures[name]) for name in names)
    return Estimate(seconds, round(nbytes), peak, tuple(unknown), judged)


def _measures(history: History) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for known in history.measured():
        row, rows = known.measured, found.setdefault(known.name, [])
        if row.get("work") and "nbytes" in row and len(rows) < RECENT:
            rows.append(row)
    return found
