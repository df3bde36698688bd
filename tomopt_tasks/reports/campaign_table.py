"""The tables of a campaign: the leaderboard, and every member, in words and rounded numbers."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from tomopt_tasks.reports.campaign_data import (
    TableData,
    entry_label,
    is_fit,
    module_offsets,
    worst_offset,
)
from tomopt_tasks.reports.numbers import duration, interval, rounded, scientific
from tomopt_tasks.reports.table import OLDER, cut_words

MM = 1000.0
TIE = "tie"
"""Column of the leaderboard."""


def board_table(table: TableData) -> list[dict[str, str]]:
    """One row an entry, from best to worst; ties share a rank."""
    return [_board_row(table, row) for row in table.record["board"]]


def without_ties(table: TableData) -> list[dict[str, str]]:
    """The leaderboard for a page, which tells in sentences who ties with whom."""
    return [{k: v for k, v in row.items() if k != TIE} for row in board_table(table)]


def ties(table: TableData) -> list[str]:
    """One sentence a tie: with whom, and what would separate them."""
    return [f"{row['design']}: a tie {row[TIE]}." for row in board_table(table) if row[TIE]]


def _board_row(table: TableData, row: Mapping[str, Any]) -> dict[str, str]:
    entry = table.record["entries"][row["name"]]
    repeats, pair = entry["repeats"], entry["against"]
    reference = row["name"] == table.reference
    many = len(repeats) > 1
    return {
        "rank": f"{row['rank']}{'=' if row['tie'] else ''}",
        "design": entry_label(row["name"]) + (f" {OLDER}" if row["name"] in table.older else ""),
        "seeds": str(len(repeats)) if many else "-",
        table.target.square("MSE"): scientific(entry["mse"]),
        "MSE ratio": "1" if reference else rounded(pair["ratio"]),
        "95 % interval": "-" if reference else interval(pair["low"], pair["high"]),
        "seeds that beat it": "-" if not many else f"{entry['wins']} of {len(repeats)}",
        "spread over seeds": _spread(entry),
        "off centre [mm]": _offset(table, row["name"]),
        "time of a fit": _fit_time(table, row["name"]),
        "same error in": _time(entry),
        f"95 % of MSE, {table.target.unit}²": _scaled(entry["low"], entry["high"]),
        TIE: tie_words(row),
    }


def _scaled(low: float, high: float) -> str:
    return f"{scientific(low)} to {scientific(high)}"


def _spread(entry: Mapping[str, Any]) -> str:
    return "-" if entry["spread"] is None else f"{100 * entry['spread'] / entry['mse']:.1f} %"


def _offset(table: TableData, name: str) -> str:
    worst = worst_offset(table, name) if is_fit(name) else None
    return "-" if worst is None else f"≤ {MM * worst:.0f}"


def _fit_time(table: TableData, name: str) -> str:
    times = fit_times(table, name)
    return duration(sum(times) / len(times)) if times else "-"


def fit_times(table: TableData, name: str) -> list[float]:
    """Seconds of the fits of an entry, as far as they are known."""
    found = (
        facts.get("fit_seconds") for (entry, _), facts in table.members.items() if entry == name
    )
    return [float(seconds) for seconds in found if seconds is not None]


def _time(entry: Mapping[str, Any]) -> str:
    seconds, curve = entry["seconds_to_reference"], entry["exposure"]
    if seconds is None or not curve or entry["against"]["high"] >= 1:
        return "-"
    return f"{duration(seconds)} of {duration(curve[-1]['seconds'])}"


def tie_words(row: Mapping[str, Any]) -> str:
    """With whom an entry ties, and what would separate them."""
    if row["name"] == row["leader"]:
        return ""
    seeds, volumes = row["more_seeds"], row["more_volumes"]
    if seeds is not None:
        more = f"about {seeds} more seed{'s' if seeds > 1 else ''} would tell"
    elif volumes is not None:
        more = f"more seeds would not tell; about {volumes} more volumes would"
    else:
        more = "neither more seeds nor more volumes alone would tell"
    return f"with {entry_label(row['leader'])}; {more}"


def member_rows(table: TableData) -> list[dict[str, str]]:
    """One row a repetition of an entry, for people."""
    target = table.target
    rows = plain_rows([table])
    cuts = any(row["fiducial_cut"] for row in rows)
    return [
        {
            "design": entry_label(row["entry"]) + (f" {OLDER}" if row["older_code"] else ""),
            "seed": row["repeat"],
            target.square("MSE"): scientific(row["mse"], row["mse_se"]),
            "MSE ratio": rounded(row["ratio"]),
            "95 % interval": interval(row["low"], row["high"]),
            "regret": f"{100 * row['regret']:.0f} %",
            "upper off centre [mm]": _mm(row["off_centre_above_m"]),
            "lower off centre [mm]": _mm(row["off_centre_below_m"]),
            "area [m²]": "-" if row["budget_used"] is None else f"{row['budget_used']:.4f}",
            "empty volumes": str(row["n_empty"]),
            **({"software cut [m]": cut_words(row)} if cuts else {}),
            "fit": "-" if row["fit_seconds"] is None else duration(row["fit_seconds"]),
        }
        for row in rows
    ]


def _mm(metres: float | None) -> str:
    return "-" if metres is None else f"{MM * metres:.1f}"


def plain_rows(tables: Sequence[TableData]) -> list[dict[str, Any]]:
    """The same for machines: numbers in full, all tables below each other."""
    rows = []
    for table in tables:
        for name, entry in table.record["entries"].items():
            for repeat in entry["repeats"]:
                facts = table.members.get((name, repeat["label"]), {})
                offsets = module_offsets(repeat["geometry"], table.middle)
                rows.append(
                    {
                        "table": table.label,
                        "entry": name,
                        "repeat": repeat["label"],
                        "reference": table.reference,
                        "mse": repeat["mse"],
                        "mse_se": repeat["mse_se"],
                        **{key: repeat["against"][key] for key in ("ratio", "low", "high")},
                        "regret": repeat["regret"],
                        "off_centre_above_m": offsets.get("above"),
                        "off_centre_below_m": offsets.get("below"),
                        "budget_used": repeat["budget_used"],
                        "n_empty": repeat["n_empty"],
                        "fiducial_cut": repeat.get("fiducial_cut"),
                        "fit_seconds": facts.get("fit_seconds"),
                        "member": facts.get("member", ""),
                        "run": facts.get("run", ""),
                        "older_code": name in table.older,
                    }
                )
    return rows


def campaign_csv(tables: Sequence[TableData]) -> str:
    """All repetitions of all entries as comma-separated values with a header line."""
    rows = plain_rows(tables)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
