"""A made-up but plausible ladle-furnace report, so that the page can be seen without a run.

``python -m tests.unit.reports.report_example page.html`` writes it.
"""

import hashlib
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch

from tomopt_tasks.evaluation import EvaluationSettings, Predictions, evaluate
from tomopt_tasks.reports.data import ReportData
from tomopt_tasks.rng import stream

HEIGHTS = [0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3]
STUDY = {
    "version": 1,
    "study": "ladle-furnace",
    "seed": 1,
    "world": {"size": [1.0, 1.0], "passive": [0.4, 1.4], "voxel": 0.1, "height": 1.8},
    "scenes": {
        "test": {"kind": "ladle_furnace", "heights": HEIGHTS, "per_height": 25, "slag": 0.1}
    },
}
SIDES = {
    "above": [(1.4053, 0.8376), (1.4487, 0.7317), (1.4913, 0.7542), (1.5918, 0.7629)],
    "below": [(0.3792, 1.0234), (0.3590, 0.9305), (0.2778, 1.0448), (0.2452, 0.7793)],
}
Z = {
    "start": ([1.48, 1.47, 1.46, 1.45], [0.35, 0.34, 0.33, 0.32]),
    "baseline_1": ([1.80, 1.75, 1.50, 1.45], [0.35, 0.30, 0.05, 0.00]),
    "baseline_2": ([1.75, 1.65, 1.55, 1.45], [0.35, 0.25, 0.15, 0.05]),
}
SIGMA = {"start": 0.215, "fit": 0.0262, "baseline_1": 0.0360, "baseline_2": 0.0330}
RATE_HZ = 190.0


def panel(pos, index, xy, z, side):
    return {
        "name": f"{pos}[{index}]", "pos": pos, "kind": "sigmoid", "xy": [xy, xy], "z": z,
        "span": [side, side], "area": side**2, "resolution": 1e4, "efficiency": 0.9,
        "m2_cost": 1.0, "smooth": 0.1,
    }  # fmt: skip


def geometry(name, mix=1.0):
    """Panels of a design; ``mix`` moves from the initial one (0) to the design (1)."""
    if name != "fit":
        xy = 0.0 if name == "start" else 0.5
        return [panel(pos, i, xy, z, 0.75**0.5) for pos, zs in zip(SIDES, Z[name], strict=True)
                for i, z in enumerate(zs)]  # fmt: skip
    panels = []
    for pos, zs in zip(SIDES, Z["start"], strict=True):
        for i, (z0, (z1, side)) in enumerate(zip(zs, SIDES[pos], strict=True)):
            offset = 0.494 if pos == "above" else 0.507
            area = (1 - mix) * 0.75 + mix * side**2
            panels.append(panel(pos, i, mix * offset, (1 - mix) * z0 + mix * z1, area**0.5))
    return panels


def draw(name, *shape):
    generator = stream(7, "example", name)
    return torch.rand(shape, generator=generator, dtype=torch.float64).numpy()


@cache
def muons(n):
    """Straight-ish muons through the volume: top and bottom states, as in a muon bank."""
    u = draw("muons", 6, 6 * n)
    theta = np.arccos(np.clip(u[0], 0.05, 1) ** (1 / 3))
    phi = 2 * np.pi * u[1]
    slope = np.tan(theta) * np.stack([np.cos(phi), np.sin(phi)])
    top = 2.0 * u[2:4] - 0.5
    bottom = top + slope
    hits = ((top > 0) & (top < 1)).all(0) | ((bottom > 0) & (bottom < 1)).all(0)
    kick = 0.03 * (u[4:6] - 0.5)
    state = np.concatenate(
        [top, slope, bottom + 0.5 * kick, slope + kick, np.full((1, 6 * n), 5.0)]
    )
    return state.T[hits][:n]


def accepted(state, panels):
    """Which muons meet two panels or more on each side (hard edges)."""
    seen = np.ones(len(state), bool)
    for pos, first, z0 in (("above", 0, 1.4), ("below", 4, 0.4)):
        hits = np.zeros(len(state), int)
        for p in panels:
            if p["pos"] == pos:
                at = state[:, first : first + 2] + (z0 - p["z"]) * state[:, first + 2 : first + 4]
                half = np.array(p["span"]) / 2
                hits += (np.abs(at - np.array(p["xy"])) < half).all(1)
        seen &= hits >= 2
    return seen


def predictions(bank, name, per_height=25):
    truth = np.repeat(HEIGHTS, per_height)
    shared, own = (torch.randn(truth.size, generator=stream(3, bank, part), dtype=torch.float64)
                   .numpy() for part in ("shared", name))  # fmt: skip
    noise = np.sqrt(0.35) * shared + np.sqrt(0.65) * own
    n_muons = np.array([125, 250, 500, 1000])
    bow = 0.008 * np.cos(2 * np.pi * (truth - 0.6) / 0.7)
    raw = [0.5 + 0.45 * (truth + bow + SIGMA[name] * noise * np.sqrt(1000 / n)) for n in n_muons]
    raw = np.stack(raw)
    if name == "start":
        raw[0, [4, 60]] = raw[1, 4] = raw[3, 4] = np.nan
    state = muons(12_000)
    panels = geometry(name)
    seen = accepted(state, panels)
    middle = (state[seen, :2] + state[seen, 4:6]) / 2
    edges = np.linspace(-0.5, 1.5, 41)
    density = np.histogram2d(middle[:, 0], middle[:, 1], bins=(edges, edges))[0]
    count = np.ones(truth.size, np.int64)
    return Predictions(
        prediction=raw,
        truth=truth,
        n_muons=n_muons,
        generated=2480 * count,
        aimed=1000 * count,
        accepted=int(1000 * seen.mean()) * count,
        used=int(960 * seen.mean()) * count,
        track=state[:200],
        track_accepted=seen[:200],
        accepted_map=np.rint(density * truth.size / 12).astype(np.int64),
        geometry=tuple(panels),
        budget_used=float(sum(p["area"] for p in panels)),
        seconds_per_muon=2.48 / RATE_HZ,
    )


def history():
    rows = []
    for epoch in range(20):
        phase, k = ("coarse", epoch) if epoch < 10 else ("fine", epoch - 10)
        mix = 1 - 0.74 ** (epoch + 1) if phase == "coarse" else 1 - 0.05 * 0.8**k
        loss = 1.9 * 0.77**epoch + 0.118 + 0.012 * np.sin(5 * epoch)
        lift = 1 + min(k, 10 - k) / 2
        rows.append(
            {
                "epoch": epoch, "phase": phase, "loss": loss, "valid": 1.06 * loss + 0.004,
                "geometry": geometry("fit", mix),
                "rates": {"xy": 0.09 * lift if phase == "coarse" else 0.0,
                          "z": 3e-4 * lift, "side": 3.5 * lift},
            }
        )  # fmt: skip
    return rows


def key(label):
    return hashlib.sha256(label.encode()).hexdigest()


def stage(label, name, kind, parents=(), **more):
    return {
        "label": label, "name": name, "kind": kind, "key": key(label), "status": "ran",
        "seconds": 0.4, "reason": "no such result yet", "parents": [key(p) for p in parents],
    } | more  # fmt: skip


def stages():
    found = {"status": "cached", "seconds": 0.01, "reason": "found and verified"}
    rows = []
    for split in ("train", "valid", "test"):
        rows.append(stage(f"{split} volumes", "make_volumes", "volumes", **found))
        rows.append(
            stage(f"{split} muons", "transport_muons", "bank", [f"{split} volumes"], seconds=3.1)
            | found
        )
    rows.append(stage("start", "start_fit", "checkpoint", **found))
    before = "start"
    for epoch in range(20):
        label = f"coarse epoch {epoch + 1}" if epoch < 10 else f"fine epoch {epoch - 9}"
        parents = [before, "train volumes", "train muons"]
        rows.append(stage(label, "fit_epoch", "checkpoint", parents, seconds=1.7)
                    | (found if epoch < 10 else {}))  # fmt: skip
        before = label
    scored = []
    for design in ("start", "fit", "baseline_1", "baseline_2"):
        for split in ("valid", "test"):
            parents = [f"{split} volumes", f"{split} muons"]
            parents += {"start": ["start"], "fit": [before]}.get(design, [])
            scored.append(f"{split}/{design}")
            rows.append(stage(scored[-1], "predict", "predictions", parents)
                        | ({} if design == "fit" else found))  # fmt: skip
    rows.append(stage("evaluation", "evaluate", "evaluation", scored, seconds=0.2))
    return rows


@cache
def example_report():
    """The whole report; the optimised design wins."""
    names = ("start", "fit", "baseline_1", "baseline_2")
    valid, test = ({n: predictions(bank, n) for n in names} for bank in ("valid", "test"))
    record = evaluate(valid, test, EvaluationSettings(), ["baseline_1", "baseline_2"], seed=1)
    return ReportData(
        title="Ladle furnace",
        study=STUDY,
        evaluation=record,
        predictions=test,
        history=history(),
        stages=stages(),
        provenance={
            "run": "ladle-furnace-0007",
            "finished": "2025-11-23 16:41 UTC",
            "code": "97c69c0",
            "versions": {"tomopt-tasks": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
            "seeds": {"study": 1, "muons": 1, "fit": 1, "evaluation": 1},
            "machine": {"threads": 1, "dtype": "float64", "device": "cpu"},
        },
        command="tomopt run data/studies/ladle_furnace.yaml",
    )


if __name__ == "__main__":
    from tomopt_tasks.reports import render_html

    Path(sys.argv[1]).write_text(render_html(example_report()))
