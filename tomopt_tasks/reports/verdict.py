"""The verdict in plain language: does the optimised design beat the baselines?"""

from collections.abc import Mapping
from typing import Any

from tomopt_tasks.evaluation.exposure import seconds_to_reach
from tomopt_tasks.reports.data import FILL_HEIGHT, Target, design_label, final_design
from tomopt_tasks.reports.numbers import duration, interval, rounded, with_error


def headline(evaluation: Mapping[str, Any]) -> str:
    """The outcome in a few words."""
    name = final_design(evaluation)
    pair = evaluation["paired"].get(name)
    if pair is None:
        return "Nothing to compare with"
    verb = {"better": "Beats", "worse": "Does not beat", "tie": "A tie with"}[outcome_of(pair)]
    against = design_label(pair["against"])
    words = reference_words(evaluation)
    return f"{verb} {against}, {words}"


def reference_words(evaluation: Mapping[str, Any]) -> str:
    """What the reference is: the best of the baselines, or merely the first design."""
    baselines = evaluation.get("baselines") or [
        name for name in evaluation["designs"] if name.startswith("baseline")
    ]
    if evaluation["reference"] not in baselines:
        return "no baseline was given"
    return "the best baseline" if len(baselines) > 1 else "the only baseline"


def outcome_of(pair: Mapping[str, Any]) -> str:
    """Either "better", "worse" or "tie": where the 95 % interval lies about 1."""
    if pair["high"] < 1:
        return "better"
    return "worse" if pair["low"] > 1 else "tie"


def verdict(evaluation: Mapping[str, Any], target: Target = FILL_HEIGHT) -> str:
    """One honest paragraph: the error, the comparison, what it is worth in time, what is wrong."""
    name = final_design(evaluation)
    sentences = [
        _error(evaluation, name, target),
        _comparison(evaluation, name),
        _time_saved(evaluation, name),
        _progress(evaluation, name),
        _empty(evaluation),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _error(evaluation: Mapping[str, Any], name: str, target: Target) -> str:
    design = evaluation["designs"][name]
    rmse = with_error(target.scale * design["rmse"], target.scale * design["rmse_se"])
    exposure = ""
    if design["exposure"]:
        full = design["exposure"][-1]
        exposure = f", {full['n_muons']} muons or {duration(full['seconds'])} of exposure each"
    return (
        f"The {design_label(name)} detector measures the {target.name} to {rmse} {target.shown}"
        f" (root mean square error over {_n_volumes(design)} test volumes{exposure})."
    ).replace("  ", " ")


def _comparison(evaluation: Mapping[str, Any], name: str) -> str:
    pair = evaluation["paired"].get(name)
    if pair is None:
        return "There is no other design, so that nothing can be said of how good that is."
    against = design_label(pair["against"])
    ratio = (
        f"Its mean squared error is {rounded(pair['ratio'])} times that of {against} on the same "
        f"volumes (95 % interval {interval(pair['low'], pair['high'])})"
    )
    words = reference_words(evaluation)
    if words == "no baseline was given":
        return f"{ratio}; {words}."
    outcome = outcome_of(pair)
    if outcome == "better":
        return f"{ratio}: it beats {words}."
    if outcome == "worse":
        return f"{ratio}: it does not beat {words}, which is better."
    needed = pair.get("volumes_needed")
    more = (
        f" If the difference seen is the true one, about {needed} test volumes would show it."
        if needed
        else ""
    )
    return f"{ratio}: a tie, these volumes cannot tell the two apart.{more}"


def _time_saved(evaluation: Mapping[str, Any], name: str) -> str:
    pair = evaluation["paired"].get(name)
    if pair is None or outcome_of(pair) != "better":
        return ""
    reference = evaluation["designs"][evaluation["reference"]]
    if not reference["exposure"]:
        return ""
    seconds = seconds_to_reach(evaluation["designs"][name]["exposure"], reference["mse"])
    full = reference["exposure"][-1]["seconds"]
    if seconds is None or seconds >= full:
        return ""
    return (
        f"The accuracy that {design_label(evaluation['reference'])} has after {duration(full)} it "
        f"reaches in {duration(seconds)}, {100 * (1 - seconds / full):.0f} % less exposure."
    )


def _progress(evaluation: Mapping[str, Any], name: str) -> str:
    start = evaluation["designs"].get("start")
    if start is None or "start" in (name, evaluation["reference"]):
        return ""
    gain = start["mse"] / evaluation["designs"][name]["mse"]
    word = "smaller" if gain >= 1 else "LARGER"
    factor = rounded(max(gain, 1 / gain), 2)
    return f"Against the initial detector the mean squared error is {factor} times {word}."


def _empty(evaluation: Mapping[str, Any]) -> str:
    parts = [
        f"{design['n_empty']} of {_n_volumes(design)} for the {design_label(name)}"
        for name, design in evaluation["designs"].items()
        if design.get("n_empty")
    ]
    if not parts:
        return ""
    return (
        "Volumes in which no muon was accepted are scored as the mean of the calibration bank: "
        f"{'; '.join(parts)} design."
    )


def _n_volumes(design: Mapping[str, Any]) -> int:
    return sum(int(row["n"]) for row in design["per_target"])
