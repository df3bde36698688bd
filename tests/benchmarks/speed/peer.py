"""Print CPU time of TomOpt's public release over that of the engine here, workload by workload.

    python -m tests.benchmarks.speed.peer --python .venv-peer/bin/python

`make bench-peer` makes that environment. Both libraries run the same detectors on the same X0 grids
with sources of the same momentum, through their public names, one thread each, in turns; here a
turn is as many steps as take 0.3 s.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks.speed.__main__ import ARMS, about, text
from tests.benchmarks.speed.cases import Case
from tests.benchmarks.speed.engine import Step, grids
from tests.benchmarks.speed.timing import LEAST, Load, Took, clocked, interleave, ratios, spread

WORKER = Path(__file__).with_name("peer_worker.py")
PAIRS = (
    (Case("small", 1), Case("small", 1), 5),
    (Case("small", 40), Case("small", 1), 5),
    (Case("ladle", 40), Case("ladle", 16), 1),
    (Case("walls", 8), Case("walls", 1), 2),
)
"""The workload, what TomOpt runs of it, and how often. Its time per muon does not fall with the
number of volumes, which it scans one by one."""


class Peer:
    """The other library in a process of its own environment."""

    def __init__(self, python: str, file: Path) -> None:
        self.process = subprocess.Popen(
            [python, str(WORKER), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.versions = self._answer()
        self.peak_mb = 0.0

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("bench-peer: the other library stopped; its message is above")
        found: dict[str, Any] = json.loads(line)
        return found

    def step(self, case: Case) -> Took:
        """One epoch of one update."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{case.scene} {case.volumes} {case.muons}\n")
        self.process.stdin.flush()
        took = self._answer()
        self.peak_mb = took["peak_mb"]
        return took["cpu"], took["wall"]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def rows_of(
    peer: Peer, pairs: Sequence[tuple[Case, Case, int]], load: Load
) -> list[dict[str, Any]]:
    """One row a workload and precision."""
    rows = []
    for case, theirs, rounds in pairs:
        ours = {
            name: clocked(Step(case, dtype, compiled=compiled), LEAST)
            for name, (dtype, compiled) in ARMS.items()
        }
        times = interleave({"TomOpt": lambda _, of=theirs: peer.step(of), **ours}, rounds, load)
        for name in ARMS:
            found = [
                ratio * case.total / theirs.total for ratio in ratios(times["TomOpt"], times[name])
            ]
            rows.append(
                {
                    "workload": case.name,
                    "TomOpt ran": theirs.name,
                    "TomOpt us/muon": times["TomOpt"].per(theirs.total),
                    "here": name,
                    "here us/muon": times[name].per(case.total),
                    "ratio": spread(found) if load.fair else "not quoted",
                    "pairs_s": [times["TomOpt"].cpu, times[name].cpu],
                }
            )
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=".venv-peer/bin/python")
    parser.add_argument("--scenes", nargs="*", default=["small", "ladle", "walls"])
    parser.add_argument("--out", type=Path, default=Path("data/store/bench-peer.json"))
    asked = parser.parse_args()
    torch.set_num_threads(1)
    load = Load()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grids.npz"
        np.savez(file, allow_pickle=False, **grids())
        peer = Peer(asked.python, file)
        pairs = [pair for pair in PAIRS if pair[0].scene in asked.scenes]
        rows = rows_of(peer, pairs, load)
        peer.close()
    found = {**about(), "peer": peer.versions, "rows": rows, "load": load.highest}
    head = f"TomOpt {peer.versions['tomopt']} (float32, torch {peer.versions['torch']})"
    head += f", {peer.peak_mb:.0f} MB at most; CPU time per muon of a full step, one thread"
    sys.stdout.write("\n".join([head, *text(rows), load.say()]) + "\n")
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(f"written to {asked.out}\n")


if __name__ == "__main__":
    main()
