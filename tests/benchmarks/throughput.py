"""Members an hour with one worker and with two, and the same bits from both.

``python -m tests.benchmarks.throughput`` runs twelve members (two seeds, three detectors, two
budgets) of a study with enough muons that the work outweighs the start of a process.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tomopt_tasks.campaigns.plan import CampaignPlan, look_up_all, plan_campaign
from tomopt_tasks.campaigns.run import crew_of, run_campaign
from tomopt_tasks.campaigns.slots import cores
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.store.opening import open_store

TINY = Path(__file__).parents[1] / "pipeline" / "tiny.yaml"
CAMPAIGN = """\
version: 1
campaign: throughput
base: {base}
set: {{muons.per_volume: {muons}, "fit.phases[1].epochs": {epochs}}}
axes:
  seed: {{seeds: 2}}
  detector:
    points:
      a: {{}}
      b: {{"detectors.start.groups.above.z[0]": 1.7}}
      c: {{"detectors.start.groups.below.z[2]": 0.1}}
  constraints.area: [4 m2, 6 m2]
judge: {{apart: [constraints.area]}}
"""


def timed(plan: CampaignPlan, folder: Path, n_workers: int) -> tuple[float, dict[str, str]]:
    """Seconds of a campaign into a new store, and the digests of all it made.

    What members share is there before the clock starts; a process that had no part in it is not.
    """
    store = open_store(folder)
    with crew_of(n_workers) as crew:
        run_campaign(plan, store, crew, shared_only=True)
        begun = time.perf_counter()
        done = run_campaign(plan, store, crew)
        seconds = time.perf_counter() - begun
    if done.failures:
        raise SystemExit(f"failed: {done.failures}")
    return seconds, {key: ref.sha256 for key, ref in look_up_all(plan, store).items()}


def say(line: str) -> None:
    """A line on the terminal."""
    sys.stdout.write(f"{line}\n")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--muons", type=int, default=1000, help="a volume")
    parser.add_argument("--epochs", type=int, default=12, help="of the second phase")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "c.yaml"
        text = CAMPAIGN.format(base=TINY, muons=asked.muons, epochs=asked.epochs)
        file.write_text(text, encoding="utf-8")
        plan = plan_campaign(load_campaign(file))
        made = {n: timed(plan, Path(folder) / f"store-{n}", n) for n in (1, 2)}
    n_members, (one, same), (two, others) = len(plan.members), made[1], made[2]
    say(f"{n_members} members, {len(plan.stages)} stages, {cores()} cores")
    for n, seconds in ((1, one), (2, two)):
        say(f"{n} workers: {seconds:6.1f} s  {3600 * n_members / seconds:7.0f} members an hour")
    say(f"speed-up {one / two:.2f} (aim 1.7 when both cores are free)")
    say("same bits" if same == others else "OTHER BITS")


if __name__ == "__main__":
    main()
