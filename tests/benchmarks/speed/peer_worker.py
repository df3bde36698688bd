"""Runs workloads with the public release of TomOpt, in its own environment.

    .venv-peer/bin/python tests/benchmarks/speed/peer_worker.py GRIDS.npz

Each line of the standard input names a workload (scene, volumes, muons a volume); the answer is one
line of JSON with the CPU and wall time of one epoch: generation, transport, hits, inference, loss,
backward and update. Only public names of the package are used; its source was not read.
"""

import json
import resource
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stdout
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from cases import LOW_AND_VOXEL, MU_BATCH, layout, wrapper_of

NAMES = {
    "tomopt.benchmarks.ladle_furnace.inference": ["PocaZLadleFurnaceFillLevelInferrer"],
    "tomopt.benchmarks.ladle_furnace.loss": ["SpreadRangeLoss"],
    "tomopt.benchmarks.ladle_furnace.volume": ["get_initial_detector"],
    "tomopt.muon": ["MuonGenerator2016"],
    "tomopt.optimisation": [
        "MuonResampler", "NoMoreNaNs", "PanelCentring", "PanelVolumeWrapper", "PassiveYielder",
        "VolumeMSELoss", "VoxelX0Loss",
    ],
    "tomopt.volume": ["DetectorPanel", "PanelDetectorLayer", "PassiveLayer", "Volume"],
}  # fmt: skip
"""Module -> names of the workloads."""


def library() -> SimpleNamespace:
    """The classes of the workloads."""
    found = {name: getattr(import_module(m), name) for m, names in NAMES.items() for name in names}
    return SimpleNamespace(FillLevelInferrer=found[NAMES[next(iter(NAMES))][0]], **found)


def one_epoch(
    lib: SimpleNamespace, wrapper: Any, passives: list[Any], muons: int, scene: str
) -> dict[str, float]:
    """Fit for one epoch with one update; what it took."""
    callbacks = [lib.MuonResampler(), lib.NoMoreNaNs()]
    if scene == "ladle":
        callbacks = [lib.MuonResampler(), lib.SpreadRangeLoss(), lib.NoMoreNaNs()]
        callbacks.append(lib.PanelCentring())
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(sys.stderr):
        cpu, wall = time.process_time(), time.perf_counter()
        wrapper.fit(
            n_epochs=1,
            passive_bs=len(passives),
            n_mu_per_volume=muons,
            mu_bs=min(MU_BATCH, muons),
            trn_passives=lib.PassiveYielder(passives, shuffle=False),
            val_passives=None,
            cbs=callbacks,
            cb_savepath=Path(folder),
        )
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu": cpu, "wall": wall}


def main() -> None:
    """Answer until the input ends."""
    warnings.filterwarnings("ignore")
    sys.tracebacklimit = 0  # a mistake ends in its message, without lines of the library's source
    torch.set_num_threads(1)
    torch.manual_seed(1)  # noqa: TID251 - the library draws from the global generator
    grids = np.load(sys.argv[1])
    lib = library()
    versions = {"tomopt": metadata.version("tomopt"), "torch": torch.__version__}
    sys.stdout.write(json.dumps(versions) + "\n")
    sys.stdout.flush()
    wrappers: dict[str, Any] = {}
    for line in sys.stdin:
        scene, volumes, muons = line.split()
        if scene not in wrappers:
            wrappers[scene] = wrapper_of(lib, scene)
        low, voxel = LOW_AND_VOXEL[scene]
        x0, target = (torch.from_numpy(grids[f"{scene}/{name}"]) for name in ("x0", "target"))
        pick = torch.linspace(0, len(x0) - 1, int(volumes)).round().long()
        passives = [
            (layout(x0[i].float(), low, voxel), target[i].float().reshape(-1)[:1]) for i in pick
        ]
        took = one_epoch(lib, wrappers[scene], passives, int(muons), scene)
        took["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        sys.stdout.write(json.dumps(took) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
