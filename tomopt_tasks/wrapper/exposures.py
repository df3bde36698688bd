"""What a design makes of a bank of muons, exposure by exposure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tomopt_tasks.callbacks.records import HitRecord, ScatterRecord
from tomopt_tasks.core import UserError
from tomopt_tasks.inference.settings import InferenceSettings
from tomopt_tasks.transport.states import some_muons
from tomopt_tasks.wrapper.build import build_wrapper
from tomopt_tasks.wrapper.observers import PredictionRecord
from tomopt_tasks.wrapper.record_settings import RecordSettings
from tomopt_tasks.wrapper.scans import BankedPassives

Recording = ScatterRecord | HitRecord


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be predicted, and from how many muons."""

    inference: InferenceSettings
    exposures: Sequence[int]
    """Muons per volume, ascending."""
    seed: int
    """Names the streams of the hits."""


def build_records(settings: Sequence[RecordSettings]) -> list[Recording]:
    """The callbacks that record what a study asks for."""
    kinds: dict[str, type[Recording]] = {"scatter_record": ScatterRecord, "hit_record": HitRecord}
    return [kinds[each.kind](each.max_muons) for each in settings]


def predict_exposures(
    volume: Any,
    asked: Asked,
    passives: BankedPassives,
    *,
    fiducial: float | None = None,
    looking: Sequence[Recording] = (),
) -> list[PredictionRecord]:
    """Predictions of the volumes at each exposure.

    Args:
        volume: with the panels of the design, their edges set.
        asked: what is to be predicted.
        passives: the volumes with their muons.
        fiducial: cut in software [m]; None: none.
        looking: callbacks that look at the largest exposure.
    """
    wrapper = build_wrapper(
        volume, asked.inference, None, {}, asked.seed, fitting=False, fiducial=fiducial
    )
    wrapper.to(passives.x0.device)
    records = []
    for n_muons in asked.exposures:
        record = PredictionRecord(inference=asked.inference)
        part = _exposed(passives, n_muons)
        cbs = looking if n_muons == asked.exposures[-1] else ()
        wrapper.predict(part, n_muons, n_muons, pred_cb=record, cbs=cbs)
        records.append(record)
    return records


def _exposed(passives: BankedPassives, n_muons: int) -> BankedPassives:
    """The volumes with the first of their muons."""
    available = passives.state.shape[1]
    if n_muons > available:
        raise UserError(
            f"evaluation.exposures: {n_muons} muons asked for, but a volume has {available}; "
            "raise muons.per_volume or leave the exposure out"
        )
    return BankedPassives(passives.x0, passives.target, some_muons(passives.state, 0, n_muons))
