"""How far from the best design do fits from other starts end, told apart from the luck of a bank?

    python -m tests.benchmarks.regret data/campaigns/ladle_starts.yaml [--set a.b=1] [--store URL]

Squared errors of a few hundred ladles tell designs that are alike apart by several per cent only.
The error that is expected after the best straight line, with the spread of predictions from the
scatter of the muons within each ladle (``losses.spread.expected_mse``), is several times less noisy
and has the same expectation. It is formed with hard edges on the test bank of the campaign, after
all fits; nothing is chosen by it. Standard errors: bootstrap over ladles, paired with the best.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.campaigns.plan import plan_campaign
from tomopt_tasks.config.changes import pairs
from tomopt_tasks.config.members import load_campaign
from tomopt_tasks.losses.spread import expected_mse
from tomopt_tasks.planning.plan import Stage
from tomopt_tasks.project import default_store
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.store.store import Store
from tomopt_tasks.wrapper.build import build_wrapper
from tomopt_tasks.wrapper.checkpoint import result_volume
from tomopt_tasks.wrapper.scans import BankedPassives

DRAWS = 200
WITHIN = 0.05


@dataclass(frozen=True)
class Judged:
    """Predictions of one design, and their variances over other muons."""

    prediction: np.ndarray
    variance: np.ndarray


class Levels(Callback):
    """Notes predictions with their variances."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, float]] = []

    def on_x0_pred_end(self) -> None:
        """Note those of a volume; NaN where no muon was accepted."""
        fit = self.fit_params
        found = (fit.pred, fit.pred_var)
        self.rows.append(tuple(float("nan") if v is None else float(v) for v in found))

    def get_preds(self) -> np.ndarray:
        """Both, one row a volume."""
        return np.array(self.rows)


def judged(
    store: Store, stages: Mapping[str, Stage], study: Any, passives: BankedPassives
) -> Judged:
    """The last detector of a fit on a bank, with hard edges."""
    last = [stage for stage in stages.values() if stage.name == "fit_epoch"][-1]
    volume = result_volume(store.get_record(store.find("checkpoint", last.key)))
    for layer in volume.get_detectors():
        for panel in layer.panels:
            panel.realistic_validation = True
    wrapper = build_wrapper(volume, study.inference, None, {}, study.evaluation.seed, fitting=False)
    n_muons = passives.state.shape[1]
    return Judged(*wrapper.predict(passives, n_muons, n_muons, pred_cb=Levels()).T)


def regrets(designs: Mapping[str, Judged], target: np.ndarray) -> dict[str, tuple[float, ...]]:
    """Design -> expected error, regret against the least one, and the standard error of that."""
    rng = np.random.default_rng(1)  # noqa: TID251 - no stream of a fit
    groups = [np.flatnonzero(target == level) for level in np.unique(target)]
    draws = [np.arange(len(target))]
    draws += [np.concatenate([rng.choice(g, len(g)) for g in groups]) for _ in range(DRAWS)]

    def error(design: Judged, rows: np.ndarray) -> float:
        parts = (design.prediction[rows], target[rows], design.variance[rows])
        return float(expected_mse(*(torch.from_numpy(part) for part in parts)))

    errors = {name: np.array([error(d, rows) for rows in draws]) for name, d in designs.items()}
    best = min(errors.values(), key=lambda values: values[0])
    ratios = {name: values / best - 1 for name, values in errors.items()}
    return {name: (errors[name][0], r[0], r[1:].std(ddof=1)) for name, r in ratios.items()}


def main() -> None:
    """Print the regret of every fit of a campaign that is stored."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("campaign")
    parser.add_argument("--set", action="append", metavar="a.b=1", help="as for the campaign")
    parser.add_argument("--store", default=default_store())
    asked = parser.parse_args()
    store = open_store(asked.store, create=False)
    plan = plan_campaign(load_campaign(asked.campaign, pairs(asked.set)))
    found: dict[str, Judged] = {}
    for member in plan.members:
        stages = {stage.label: stage for stage in member.stages}
        if store.find("evaluation", stages["evaluation"].key) is None:
            continue
        volumes, bank = (
            store.open_dataset(store.find(stages[f"test {what}"].kind, stages[f"test {what}"].key))
            for what in ("volumes", "bank")
        )
        arrays = (volumes.array("x0"), volumes.array("target"), bank.array("state")[0])
        passives = BankedPassives(*(torch.from_numpy(array) for array in arrays))
        found[member.name] = judged(store, stages, member.member.study, passives)
    if not found:
        sys.exit(f"nothing of {asked.campaign} is complete in {store.url}; run it first")
    rows = regrets(found, passives.target.reshape(-1).numpy())
    for name, (error, regret, spread) in rows.items():
        print(f"{name:32} {error:.3e}  regret {100 * regret:4.1f} ± {100 * spread:.1f} %")  # noqa: T201
    errors = np.array([error for error, _, _ in rows.values()])
    within = sum(regret <= WITHIN for _, regret, _ in rows.values())
    words = f"{within} of {len(rows)} within {100 * WITHIN:.0f} %; spread of the error"
    print(f"{words} {100 * errors.std() / errors.mean():.1f} % of its mean")  # noqa: T201


if __name__ == "__main__":
    main()
