"""The evaluation record: every design's figures of merit and its ratio to the best baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float

from tomopt_tasks.core import UserError
from tomopt_tasks.evaluation.calibration import fit_calibration
from tomopt_tasks.evaluation.exposure import exposure_curve
from tomopt_tasks.evaluation.merit import figures_of_merit, target_groups
from tomopt_tasks.evaluation.paired import bootstrap_stream, paired_ratio
from tomopt_tasks.evaluation.predictions import Predictions
from tomopt_tasks.evaluation.settings import EvaluationSettings


def evaluate(
    valid: Mapping[str, Predictions],
    test: Mapping[str, Predictions],
    settings: EvaluationSettings,
    baselines: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Judge designs on one test bank, each calibrated on the calibration bank.

    The reference is the baseline with the least error on the test bank: a choice that favours the
    baselines. Without baselines it is the first design.

    Args:
        valid: predictions of each design for the calibration bank.
        test: predictions of each design for the test bank.
        settings: correction and number of bootstrap draws.
        baselines: names of the designs that others are compared with.
        seed: of the bootstrap's stream.

    Returns:
        A tree of JSON types: "reference" and "baselines", names; "designs": name -> figures of
        merit, per-target rows, waterfall, geometry and exposure curve; "paired": name -> ratio,
        low, high, against and volumes_needed, for every design but the reference.
    """
    valid, test = (
        {name: predictions.floored(settings.target_floor) for name, predictions in bank.items()}
        for bank in (valid, test)
    )
    _check_banks(valid, test, baselines)
    tuned = {name: with_best_cut(valid[name], test[name], settings) for name in test}
    valid, test = ({name: pair[i] for name, pair in tuned.items()} for i in (0, 1))
    designs = {
        name: design_record(valid[name], predictions, settings)
        for name, predictions in test.items()
    }
    reference = min(list(baselines) or list(designs)[:1], key=lambda name: designs[name]["mse"])
    squares = {name: squared_errors(valid[name], test[name], settings) for name in test}
    groups = target_groups(next(iter(test.values())).truth)
    paired = {}
    for name in designs:
        if name == reference:
            continue
        result = paired_ratio(
            squares[name],
            squares[reference],
            groups,
            bootstrap_stream(seed),
            draws=settings.bootstrap,
        )
        paired[name] = {**asdict(result), "against": reference}
    return {
        "reference": reference,
        "baselines": list(baselines),
        "designs": designs,
        "paired": paired,
    }


def _check_banks(
    valid: Mapping[str, Predictions], test: Mapping[str, Predictions], baselines: Sequence[str]
) -> None:
    if not test:
        raise UserError("nothing to evaluate: no design has predictions; name one under `compare`")
    unknown = [name for name in baselines if name not in test]
    if unknown:
        raise UserError(
            f"baseline {unknown[0]!r} has no predictions; the designs are {', '.join(test)}"
        )
    first = next(iter(test))
    for name, predictions in test.items():
        if name not in valid:
            raise UserError(f"design {name!r} has no predictions for the calibration bank")
        if not np.array_equal(valid[name].n_muons, predictions.n_muons):
            raise UserError(
                f"design {name!r} was calibrated at other exposures than it was tested at"
            )
        if not np.array_equal(predictions.truth, test[first].truth):
            raise UserError(
                f"designs {first!r} and {name!r} were tested on other volumes; a paired comparison "
                "needs one test bank for all"
            )


def with_best_cut(
    valid: Predictions, test: Predictions, settings: EvaluationSettings
) -> tuple[Predictions, Predictions]:
    """Both banks with the cut in software, or none, that has the least error on the first one.

    Args:
        valid: predictions of a design for the bank that choices are made on.
        test: the same for the bank that it is judged on, with the same cuts.
        settings: correction of the predictions.

    Raises:
        UserError: the banks were predicted with other cuts.
    """
    cuts = [[each.fiducial_cut for each in bank.with_cuts] for bank in (valid, test)]
    if cuts[0] != cuts[1]:
        raise UserError("a design was calibrated with other cuts in software than it was tested")
    choices = zip((valid, *valid.with_cuts), (test, *test.with_cuts), strict=True)
    return min(choices, key=lambda pair: squared_errors(pair[0], pair[0], settings).mean())


def squared_errors(
    valid: Predictions, test: Predictions, settings: EvaluationSettings
) -> Float[np.ndarray, " volume"]:
    """Squared errors of the calibrated predictions of a design for the test volumes."""
    calibration = fit_calibration(valid.best, valid.truth, settings.correction)
    squares: np.ndarray = (calibration(test.best) - test.truth) ** 2
    return squares


def design_record(
    valid: Predictions, test: Predictions, settings: EvaluationSettings
) -> dict[str, Any]:
    """Figures of merit of one design, as JSON types."""
    calibration = fit_calibration(valid.best, valid.truth, settings.correction)
    raw = fit_calibration(valid.best, valid.truth, "none")
    merit = asdict(figures_of_merit(calibration(test.best), test.truth))
    rows = merit.pop("per_target")
    return {
        **merit,
        "raw_mse": figures_of_merit(raw(test.best), test.truth).mse,
        "calibration": [calibration.slope, calibration.intercept],
        "fiducial_cut": test.fiducial_cut,
        "budget_used": test.budget_used,
        "n_volumes": int(test.truth.size),
        "n_empty": int((~np.isfinite(test.best)).sum()),
        "n_empty_calibration": int((~np.isfinite(valid.best)).sum()),
        "per_target": list(rows),
        "waterfall": {
            step: int(getattr(test, step).sum())
            for step in ("generated", "aimed", "accepted", "used")
        },
        "geometry": [dict(panel) for panel in test.geometry],
        "exposure": exposure_curve(valid, test, settings.correction),
    }
