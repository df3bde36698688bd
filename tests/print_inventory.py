"""Prints ``inventory.csv`` as a table: ``python -m tests.print_inventory [kind ...]``."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

TITLES = {
    "name": "Public names (spec 14)",
    "member": "Methods of theirs (spec 14)",
    "defect": "Corrected defects (spec 12)",
    "value": "Golden values (spec 13.1)",
    "physics": "Required behaviour (spec 13.2)",
}


def main(kinds: Sequence[str]) -> None:
    """Print the rows of these kinds, or all."""
    with Path(__file__).with_name("inventory.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for kind in kinds or TITLES:
        chosen = [row for row in rows if row["kind"] == kind]
        names = [label(row) for row in chosen]
        width = max(map(len, names), default=0)
        lines = [f"{name:{width}}  {row['test']}" for name, row in zip(names, chosen, strict=True)]
        sys.stdout.write("\n".join([f"{TITLES[kind]}: {len(chosen)}", *lines, "", ""]))


def label(row: dict[str, str]) -> str:
    """What a row is about."""
    return f"{row['where'][5:]:>2} {row['name']}" if row["kind"] == "physics" else row["name"]


if __name__ == "__main__":
    main(sys.argv[1:])
