"""Kill a small study some hundred times and print what came of it; ``make torture``.

    python -m tests.torture --plain 280 --served 20 --pairs 60

Each kill is a SIGKILL to a run's process group at a moment drawn from the seed: after some time,
or before one of its operations on the store. The next run of the same study follows; when one
comes to its end, everything must be as if nobody had been killed, and a new round begins.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.kills import Torture, pair, plain, served
from tests.torture.victims import Nursery
from tomopt_tasks.reports.text import columns


def main() -> None:
    """Torture and print; exit code 1 if anything was torn, lost or left."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", type=int, default=280, help="kills of the plain runner")
    parser.add_argument("--served", type=int, default=20, help="kills under one Prefect server")
    parser.add_argument("--pairs", type=int, default=60, help="kills with two at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    asked = parser.parse_args()
    begun, tolls = time.monotonic(), {}
    with tempfile.TemporaryDirectory() as folder, Nursery() as one, Nursery() as two:
        torture = Torture(Path(folder), asked.seed, lambda said: sys.stderr.write(f"{said}\n"))
        torture.undisturbed(one)
        for name, n_kills, act in (
            ("plain runner", asked.plain, lambda n: plain(torture, one, n)),
            ("two processes, one study", asked.pairs, lambda n: pair(torture, (one, two), n)),
            ("under one Prefect server", asked.served, lambda n: served(torture, n)),
        ):
            if n_kills:
                tolls[name] = act(n_kills)
    sys.stdout.write("\n".join(columns([toll.row(name) for name, toll in tolls.items()])) + "\n")
    for name, toll in tolls.items():
        sys.stdout.writelines(f"{name}: {said}\n" for said in toll.said)
    sys.stdout.write(f"{time.monotonic() - begun:.0f} s\n")
    sys.exit(not all(toll.clean for toll in tolls.values()))


if __name__ == "__main__":
    main()
