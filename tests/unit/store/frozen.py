"""Makes the store of format 1.0 that ``test_frozen.py`` reads; it is made once and then kept.

    python -m tests.unit.store.frozen tests/unit/store/frozen_v1

What a machine would add (times, host, commit) is fixed, so that the store tells nothing of one.
"""

import json
import shutil
import sys
from pathlib import Path
from unittest import mock

from tests.pipeline.common import changed
from tomopt_tasks.campaigns.comparison import have_comparison
from tomopt_tasks.campaigns.plan import look_up_all, plan_campaign
from tomopt_tasks.campaigns.tables import make_tables
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.planning.plan import plan_study
from tomopt_tasks.runs import manifest, run
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.partial import EVERY, Partial

SMALL = (
    ("scenes.valid.per_height", "1"),
    ("scenes.test.per_height", "1"),
    ("muons.per_volume", "20"),
    ("compare", "[start, fit]"),
    ("fit.phases", "[{name: only, epochs: 2}]"),
    (
        "fit.optimiser",
        "{xy: {kind: adam, rate: 1e-3}, z: {kind: sgd, rate: 1e-3}, side: {kind: sgd, rate: 1e-3}}",
    ),
)
MACHINE = {
    "versions": {"python": "3.11.7", "torch": "2.13.0", "zarr": "3.1.6"},
    "host": {"name": "somewhere", "pid": 1, "system": "Linux x86_64", "threads": 1, "cores": 2},
    "commit": "",
    "command": ["tomopt", "run", "study.yaml"],
}


def make(folder: Path) -> None:
    """Run a study of two epochs, and add one of each thing that a run does not leave."""
    study = changed(*SMALL)
    store = open_store(folder)
    with (
        mock.patch.object(manifest, "provenance", return_value=MACHINE),
        mock.patch.object(run, "provenance", return_value=MACHINE),
        mock.patch.object(run, "now", return_value="2026-11-27T00:00:00+00:00"),
        mock.patch.object(run, "_peak_mb", return_value=400.0),
        run.begin(study, store, request=run.Request("study.yaml")) as running,
    ):
        run.run_all(running)
    _compare(folder, study)
    stages = {stage.label: stage for stage in plan_study(study)}
    first = store.find("checkpoint", stages["only epoch 1"].key)
    state = store.get_record(first)
    with mock.patch.dict("os.environ", {EVERY: "0"}):
        Partial(store, stages["only epoch 2"].key).between_steps(1, lambda: state)
    store.retire(first)
    store.pin("evaluation", stages["evaluation"].key)
    _write_down(folder)


def _write_down(folder: Path) -> None:
    """What a reader has to find: kind -> key -> digest of the content; and one number."""
    store = open_store(folder)
    found = {
        kind: {key: store.find(kind, key).sha256 for key in store.keys(kind)}
        for kind in store.kinds()
    }
    (key,) = found["evaluation"]
    tree = store.get_record(store.find("evaluation", key))
    expected = {"objects": found, "mse": tree["designs"]["fit"]["mse"].hex()}
    folder.with_suffix(".json").write_text(json.dumps(expected, indent=1) + "\n")


def _compare(folder: Path, study) -> None:
    """The comparison of a campaign whose one member is the study."""
    store, file = open_store(folder), folder / "campaign.json"
    base = folder / "base.json"
    base.write_text(json.dumps(study.model_dump(mode="json")))
    axes = {"report.title": ["Tiny"]}
    file.write_text(json.dumps({"version": 1, "campaign": "c", "base": str(base), "axes": axes}))
    plan = plan_campaign(load_campaign(file))
    base.unlink()
    file.unlink()
    refs = look_up_all(plan, store)
    for table in make_tables(plan):
        have_comparison(table, store, refs)


if __name__ == "__main__":
    target = Path(sys.argv[1]).resolve()
    shutil.rmtree(target, ignore_errors=True)
    make(target)
    (target / ".tmp").rmdir()  # Git keeps no empty folder
