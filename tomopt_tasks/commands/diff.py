"""``tomopt diff``: two studies or two runs side by side: settings, keys, results."""

from collections.abc import Mapping
from typing import Any

from tomopt_tasks.commands.answer import Answer
from tomopt_tasks.commands.target import Planned, planned
from tomopt_tasks.planning.plan import KINDS
from tomopt_tasks.planning.reasons import differences, short
from tomopt_tasks.reports.text import columns
from tomopt_tasks.store.store import Store


def diff(store: Store | None, one: str, other: str) -> Answer:
    """What sets two studies apart, and what came out of each.

    Args:
        store: where their results are; None: there is no store yet.
        one: study file, run, or study for its newest run.
        other: the same.
    """
    a, b = planned(store, one), planned(store, other)
    settings = list(differences(a.settings, b.settings))
    keys = _keys(a, b)
    results = _results(store, a, b)
    data = {
        "a": {"study": a.name, "run": a.run},
        "b": {"study": b.name, "run": b.run},
        "settings": [{"place": place, "a": x, "b": y} for place, x, y in settings],
        "keys": keys,
        "results": results,
    }
    rows = [{"setting": place, "A": short(x), "B": short(y)} for place, x, y in settings]
    lines = [f"A  {a.run}", f"B  {b.run}", "", *(columns(rows) or ["equal settings"]), ""]
    lines += [f"{len(keys['same'])} stages have equal keys"]
    for name, words in (
        ("different", "differ"),
        ("only_a", "only A has"),
        ("only_b", "only B has"),
    ):
        if keys[name]:
            lines.append(f"{words}: {', '.join(_runs_of(keys[name]))}")
    table = [
        {"design": row["design"], "RMSE of A": _number(row["a"]), "RMSE of B": _number(row["b"]),
         "B / A": _number(row["ratio"])}
        for row in results
    ]  # fmt: skip
    lines += ["", *(columns(table) or ["results: not both have run here"])]
    return Answer(data, lines)


def _keys(a: Planned, b: Planned) -> dict[str, list[str]]:
    """Labels of stages with equal keys, with other keys, and of one side only."""
    of_a = {stage.label: stage.key for stage in a.stages}
    of_b = {stage.label: stage.key for stage in b.stages}
    both = [label for label in of_a if label in of_b]
    return {
        "same": [label for label in both if of_a[label] == of_b[label]],
        "different": [label for label in both if of_a[label] != of_b[label]],
        "only_a": [label for label in of_a if label not in of_b],
        "only_b": [label for label in of_b if label not in of_a],
    }


def _runs_of(labels: list[str]) -> list[str]:
    """Labels with consecutive epochs of a phase joined: "coarse epoch 1 to 9"."""
    joined: list[tuple[str, str, str]] = []
    for label in labels:
        head, _, number = label.rpartition(" ")
        if joined and number.isdecimal() and joined[-1][0] == head:
            joined[-1] = (head, joined[-1][1], number)
        else:
            joined.append((head, number, number))
    return [
        f"{head} {first}".strip() if first == last else f"{head} {first} to {last}"
        for head, first, last in joined
    ]


def _results(store: Store | None, a: Planned, b: Planned) -> list[dict[str, Any]]:
    """Error of each design in both; empty unless both have been judged."""
    designs_a, designs_b = _designs(store, a), _designs(store, b)
    if not designs_a or not designs_b:
        return []
    rows = []
    for name in dict.fromkeys((*designs_a, *designs_b)):
        x, y = (each[name]["rmse"] if name in each else None for each in (designs_a, designs_b))
        rows.append({"design": name, "a": x, "b": y, "ratio": y / x if x and y else None})
    return rows


def _designs(store: Store | None, one: Planned) -> Mapping[str, Any]:
    stage = [stage for stage in one.stages if stage.name == "evaluate"][-1]
    ref = store.find(KINDS["evaluate"], stage.key) if store else None
    found: Mapping[str, Any] = store.outline(ref)["designs"] if store and ref else {}
    return found


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
