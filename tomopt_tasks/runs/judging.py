"""Judge a detector that somebody typed against the designs of a run, on the banks of that run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomopt_tasks.config.load import load_detector
from tomopt_tasks.core import UserError
from tomopt_tasks.planning.plan import Stage, plan_study
from tomopt_tasks.reports.data import Target, design_label, target_of
from tomopt_tasks.reports.numbers import interval, rounded, scientific, with_error
from tomopt_tasks.reports.text import Answer, columns
from tomopt_tasks.runs import body
from tomopt_tasks.runs.manifest import study_of
from tomopt_tasks.runs.run import Call, call_plain
from tomopt_tasks.store.refs import Ref
from tomopt_tasks.store.store import Store


@dataclass(frozen=True)
class Judged:
    """A design that was judged, and what had to run for it."""

    name: str
    rows: list[dict[str, str]]
    """The comparison for people."""
    designs: Mapping[str, Any]
    """Design -> figures of merit; see ``evaluation.record``."""
    relative: Mapping[str, Mapping[str, Any]]
    """Other design -> MSE of the judged one relative to it, with its 95 % interval."""
    executed: int

    def answer(self) -> Answer:
        """What the command says."""
        data = {"design": self.name, "designs": self.designs, "relative_mse": self.relative}
        return Answer({**data, "executed": self.executed}, columns(self.rows))


def judge(store: Store, run: str, file: Path, call: Call = call_plain) -> Judged:
    """Predict the banks of a run with a detector, and pair its errors with those of the run.

    The detector is taken as written, also where it uses another budget than those of the run.

    Args:
        store: where the run is.
        run: its id.
        file: a detector file.
        call: has the work of a stage done.

    Raises:
        UserError: the file is wrong, or the run is not complete in the store.
    """
    study = study_of(store, run)
    detector = load_detector(file, study.world)
    taken = (*study.compare, *study.detectors)
    name = f"{file.stem}_file" if file.stem in taken else file.stem
    study = study.model_copy(
        update={
            "detectors": {**study.detectors, name: detector},
            "compare": (*study.compare, name),
        }
    )
    counted = len(body.executed)
    refs = _have(store, run, plan_study(study, reference=name), call)
    evaluation = store.get_record(list(refs.values())[-1])
    rows = _rows(evaluation, name, target_of(study.model_dump(mode="json")))
    relative = {other: _inverse(pair) for other, pair in evaluation["paired"].items()}
    return Judged(name, rows, evaluation["designs"], relative, len(body.executed) - counted)


def _inverse(pair: Mapping[str, Any]) -> dict[str, Any]:
    """The pair of another design and the judged one, the other way round."""
    ratios = {"ratio": 1 / pair["ratio"], "low": 1 / pair["high"], "high": 1 / pair["low"]}
    return {**ratios, "result": _words(pair)}


def _have(store: Store, run: str, stages: Sequence[Stage], call: Call) -> dict[str, Ref]:
    """The refs that the last stage hangs on: predictions are made where they are missing."""
    refs: dict[str, Ref] = {}
    wanted = {stages[-1].key}
    for stage in reversed(stages):
        if stage.key in wanted:
            ref = store.find(stage.kind, stage.key)
            if ref is not None:
                refs[stage.key] = ref
            elif stage.name in ("train_model", "predict", "evaluate"):
                wanted |= set(stage.parents.values())
            else:
                raise UserError(
                    f"run {run}: {stage.label} is not in the store as this version of the code "
                    "makes it; run its study again"
                )
    for stage in stages:
        if stage.key in wanted - refs.keys():
            made = call(body.work_of(stage, store, refs), hit=False)
            refs[stage.key] = Ref.model_validate(made)
    return {stage.key: refs[stage.key] for stage in stages if stage.key in refs}


def _rows(evaluation: Mapping[str, Any], name: str, target: Target) -> list[dict[str, str]]:
    """One row a design: its error, and the error of ``name`` relative to it."""
    rows = []
    for each in (name, *(other for other in evaluation["designs"] if other != name)):
        design, pair = evaluation["designs"][each], evaluation["paired"].get(each)
        rows.append(
            {
                "design": design_label(each),
                target.axis("RMSE"): with_error(
                    target.scale * design["rmse"], target.scale * design["rmse_se"]
                ),
                target.square("MSE"): scientific(design["mse"], design["mse_se"]),
                "budget used [m²]": f"{design['budget_used']:.3f}",
                f"MSE of {name} relative to it": rounded(1 / pair["ratio"]) if pair else "1",
                "95 % interval": interval(1 / pair["high"], 1 / pair["low"]) if pair else "-",
                "result": _words(pair) if pair else "",
            }
        )
    return rows


def _words(pair: Mapping[str, Any]) -> str:
    """What the pair of another design says about the judged one."""
    if pair["low"] > 1:
        return "beats it"
    return "is worse" if pair["high"] < 1 else "a tie"
