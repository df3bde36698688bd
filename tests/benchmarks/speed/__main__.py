"""Print how fast the engine is and write the same as JSON.

    python -m tests.benchmarks.speed [PART ...] [--rounds 7] [--out FILE]

Times are CPU times of one thread per muon of a full step: transport or reading a bank, hits,
inference, loss, backward, update. The arms of a table take turns within one process.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.speed import scaling
from tests.benchmarks.speed.banks import MADE, bank_times, machine
from tests.benchmarks.speed.cases import CASES
from tests.benchmarks.speed.engine import BankedStep, Step
from tests.benchmarks.speed.pipeline import costs
from tests.benchmarks.speed.rounding import gradient_errors
from tests.benchmarks.speed.timing import (
    LEAST,
    Arm,
    Load,
    clocked,
    digits,
    interleave,
    ratios,
    spread,
)
from tomopt_tasks.store.opening import open_store

_PLAIN = {"float64": torch.float64, "float32": torch.float32}
ARMS = {name: (dtype, False) for name, dtype in _PLAIN.items()}
"""Name -> precision, and whether kernels are compiled."""
if shutil.which("g++"):
    ARMS |= {f"{name}, compiled": (dtype, True) for name, dtype in _PLAIN.items()}
Rows = list[dict[str, Any]]


def workloads(rounds: int, load: Load) -> Rows:
    """CPU time per muon of every workload, by precision and by where the muons come from."""
    rows = []
    for case in CASES:
        arms: dict[str, Arm] = {}
        with tempfile.TemporaryDirectory() as folder:
            for name, (dtype, compiled) in ARMS.items():
                step = Step(case, dtype, compiled=compiled)
                arms[name] = clocked(step, LEAST)
                banked = BankedStep(step, open_store(Path(folder) / name), 2)
                arms[f"{name}, bank"] = clocked(banked, LEAST)
            times = interleave(arms, rounds, load)
        base = times["float64"]
        rows += [
            {
                "workload": case.name,
                "arm": name,
                "us/muon": of.per(case.total),
                "CPU/wall": digits(sum(of.cpu) / sum(of.wall)),
                "float64 over it": spread(ratios(base, of)) if load.fair else "not quoted",
                "cpu_s": of.cpu,
            }
            for name, of in times.items()
        ]
    return rows


def growth(rounds: int, load: Load) -> Rows:
    """Time and memory of one step of `small`, transport apart, as it grows."""
    asked = [(v, m, 0.1, "float64") for v, m in scaling.MUONS]
    asked += [(40, 1000, voxel, "float64") for voxel in scaling.VOXELS]
    rows = []
    for one in asked:
        load.look()
        found = scaling.apart(*one)
        rows.append(
            {
                "volumes": one[0],
                "muons": f"{found['muons']:.0f}",
                "voxels": f"{found['voxels']:.0f}",
                "us/muon": digits(found["us"]),
                "MB before": digits(found["before_mb"]),
                "MB at most": digits(found["peak_mb"]),
            }
        )
    return rows


def banks(rounds: int, load: Load) -> Rows:
    """Rates of muon banks of ten layers."""
    with tempfile.TemporaryDirectory() as folder:
        times, size = bank_times(Path(folder), rounds, load)
    read = times.pop("read")
    rates = {
        f"{name} [muons/us]": [MADE.total / cpu / 1e6 for cpu in made.cpu]
        for name, made in times.items()
    }
    rates["read [MB/s]"] = [size / cpu / 1e6 for cpu in read.cpu]
    return [{"bank": what, "per second of CPU": spread(rate)} for what, rate in rates.items()]


def rounding(rounds: int, load: Load) -> Rows:
    """Relative error of gradients in float32 against float64, same muons and noise."""
    rows = []
    for case in CASES:
        errors = gradient_errors(case)
        shown = {kind: f"{100 * error:.2g} %" for kind, error in errors.items()}
        rows.append({"workload": case.name} | shown)
    return rows


def overheads(rounds: int, load: Load) -> Rows:
    """What the pipeline costs beyond the physics."""
    return [
        {"what": what, "CPU [ms]": digits(1e3 * cpu), "wall [ms]": digits(1e3 * wall)}
        for what, (cpu, wall) in costs(load)
    ]


PARTS: dict[str, Callable[[int, Load], Rows]] = {
    "workloads": workloads,
    "growth": growth,
    "banks": banks,
    "rounding": rounding,
    "pipeline": overheads,
}


NAMES = ", ".join(PARTS)


def text(rows: Rows) -> list[str]:
    """A table; lists of raw numbers are for the JSON only."""
    names = [n for n in dict.fromkeys(n for row in rows for n in row) if not n.endswith("_s")]
    table = [names, *([str(row.get(name, "")) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(names))]
    cells = [[cell.ljust(w) for cell, w in zip(line, widths, strict=True)] for line in table]
    return ["  ".join(line).rstrip() for line in cells]


def about() -> dict[str, Any]:
    """Machine, versions and date of the figures."""
    versions = {name: metadata.version(name) for name in ("tomopt-tasks", "torch", "zarr")}
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), **machine(), **versions}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=7, help="timed calls of each arm")
    parser.add_argument("--out", type=Path, default=Path("data/store/bench.json"))
    asked = parser.parse_args()
    if unknown := sorted({*asked.parts} - {*PARTS}):
        parser.error(f"no part {', '.join(unknown)}; there are {NAMES}")
    torch.set_num_threads(1)
    found: dict[str, Any] = about()
    sys.stdout.write(", ".join(f"{name} {value}" for name, value in found.items()) + "\n")
    for part in asked.parts or PARTS:
        load = Load()
        rows = PARTS[part](asked.rounds, load)
        found[part] = {"rows": rows, "load": load.highest, "fair": load.fair}
        title = (PARTS[part].__doc__ or "").split(".")[0]
        said = [load.say()] if load.highest else []
        sys.stdout.write("\n".join(["", title, *text(rows), *said]) + "\n")
        sys.stdout.flush()
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"\nwritten to {asked.out}\n")


if __name__ == "__main__":
    main()
