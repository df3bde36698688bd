"""The comparison table, the same on the page, in Prefect and on a terminal."""

from collections.abc import Collection, Mapping
from typing import Any

from tomopt_tasks.reports.data import FILL_HEIGHT, Target, design_label
from tomopt_tasks.reports.numbers import interval, rounded, scientific, with_error

OLDER = "†"
"""Mark of a design whose numbers hang on accepted results of older code."""


def comparison_table(
    evaluation: Mapping[str, Any], target: Target = FILL_HEIGHT, older: Collection[str] = ()
) -> list[dict[str, str]]:
    """One row a design, in words and rounded numbers; all rows have the same columns.

    Errors are standard errors over the test volumes; intervals hold 95 %.

    Args:
        evaluation: the evaluation record.
        target: the measured quantity.
        older: designs to mark, see ``OLDER``.
    """
    rows = []
    cuts = any(each.get("fiducial_cut") for each in evaluation["designs"].values())
    for name, design in evaluation["designs"].items():
        pair = evaluation["paired"].get(name)
        rows.append(
            {
                "design": f"{design_label(name)} {OLDER}" if name in older else design_label(name),
                target.axis("RMSE"): with_error(
                    target.scale * design["rmse"], target.scale * design["rmse_se"]
                ),
                target.square("MSE"): scientific(design["mse"], design["mse_se"]),
                "MSE ratio": rounded(pair["ratio"]) if pair else "1",
                "95 % interval": interval(pair["low"], pair["high"]) if pair else "—",
                "budget used [m²]": _budget(design),
                "empty volumes": str(design.get("n_empty", 0)),
                **({"software cut [m]": cut_words(design)} if cuts else {}),
                "result": result_words(evaluation, name),
            }
        )
    return rows


def older_note(older: Collection[str]) -> str:
    """What the mark means; empty if no design is marked."""
    if not older:
        return ""
    return (
        f"{OLDER} hangs on stored results of older code, taken by --accept-code-changes; `tomopt "
        "explain` names them."
    )


def result_words(evaluation: Mapping[str, Any], name: str) -> str:
    """Better, worse or tie, against the reference."""
    pair = evaluation["paired"].get(name)
    reference = design_label(evaluation["reference"])
    if pair is None:
        return "reference"
    against = design_label(pair.get("against", evaluation["reference"])) or reference
    if pair["high"] < 1:
        return f"better than {against}"
    if pair["low"] > 1:
        return f"worse than {against}"
    return f"tie with {against}"


def per_target_table(
    design: Mapping[str, Any], target: Target = FILL_HEIGHT
) -> list[dict[str, str]]:
    """Mean, spread and error of one design at each target value."""
    rows = []
    for row in design["per_target"]:
        bias = row["mean"] - row["target"]
        std = row["std"]
        se = None if std is None else std / row["n"] ** 0.5
        rows.append(
            {
                target.axis(f"true {target.name}"): f"{target.scale * row['target']:.4g}",
                "volumes": str(row["n"]),
                target.axis("mean error"): with_error(
                    target.scale * bias, None if se is None else target.scale * se
                ),
                target.axis("spread"): "—" if std is None else rounded(target.scale * std),
                target.square("MSE"): scientific(row["mse"], row["mse_se"]),
            }
        )
    return rows


def cut_words(design: Mapping[str, Any]) -> str:
    """The cut in software that a design has chosen."""
    cut = design.get("fiducial_cut")
    return "none" if cut is None else f"{cut:g}"


def _budget(design: Mapping[str, Any]) -> str:
    used = design.get("budget_used")
    return "—" if used is None else f"{used:.3f}"
