"""One step of a workload with the engine here, the way the pipeline runs it."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.speed.cases import MOMENTUM, Case, wrapper_of
from tomopt_tasks.callbacks.detector import PanelCentring
from tomopt_tasks.callbacks.ladle import SpreadRangeLoss
from tomopt_tasks.detectors.ladle import get_initial_detector
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.kernels import compiling
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.muons.generators import MuonGenerator2016
from tomopt_tasks.muons.settings import MuonSettings, Shukla2016Settings
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.store.arrays import ArraySpec
from tomopt_tasks.store.store import Store
from tomopt_tasks.transport.bank import COLUMNS, transport, transported
from tomopt_tasks.transport.states import States
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.scene_settings import LeadInBerylliumSettings, SmallWallsSettings
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.family import PanelVolumeWrapper
from tomopt_tasks.wrapper.scans import BankedPassives

LIBRARY = SimpleNamespace(
    DetectorPanel=DetectorPanel,
    FillLevelInferrer=PocaZLadleFurnaceFillLevelInferrer,
    MuonGenerator2016=MuonGenerator2016,
    PanelDetectorLayer=PanelDetectorLayer,
    PanelVolumeWrapper=PanelVolumeWrapper,
    PassiveLayer=PassiveLayer,
    Volume=Volume,
    VolumeMSELoss=VolumeMSELoss,
    VoxelX0Loss=VoxelX0Loss,
    get_initial_detector=get_initial_detector,
)
"""The classes of the workloads."""

WORLDS = {
    "small": World(passive=(0.2, 0.8), height=1.0),
    "ladle": World(),
    "walls": World(size=(10.0, 10.0), passive=(1.0, 11.0), voxel=1.0, height=12.0),
}
SCENES = {
    "small": LeadInBerylliumSettings(volumes=40),
    "ladle": LadleFurnaceSettings(),
    "walls": SmallWallsSettings(volumes=8),
}
SEED = 1234


@cache
def scene_of(name: str) -> tuple[Tensor, Tensor]:
    """X0 grids [m] of all volumes of a scene, and their targets."""
    return make_scene(WORLDS[name], SCENES[name], SEED, "train")


def grids() -> dict[str, np.ndarray]:
    """The grids and targets of all scenes, for another library."""
    pairs = {name: scene_of(name) for name in WORLDS}
    x0 = {f"{name}/x0": pair[0].numpy() for name, pair in pairs.items()}
    return x0 | {f"{name}/target": pair[1].numpy() for name, pair in pairs.items()}


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Detectors built inside compute in another precision."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def muons_of(case: Case) -> MuonSettings:
    """The source of a workload: muons of one momentum that point at the volume."""
    source = Shukla2016Settings(momentum=MOMENTUM[case.scene])
    return MuonSettings(source=source, per_volume=case.muons)


class Step:
    """An update of a workload; each call sees other muons.

    Args:
        case: the workload.
        dtype: of hits, inference and loss; muons are transported in float64.
        compiled: whether kernels run compiled.
        more: further arguments of the wrapper.
    """

    def __init__(
        self,
        case: Case,
        dtype: torch.dtype = torch.float64,
        *,
        compiled: bool = False,
        **more: Any,
    ) -> None:
        self.compiled = compiled
        x0, target = scene_of(case.scene)
        pick = torch.linspace(0, len(x0) - 1, case.volumes).round().long()
        self.case, self.x0, self.target = case, x0[pick], target[pick].to(dtype)
        self.world, self.muons = WORLDS[case.scene], muons_of(case)
        with default_dtype(dtype):
            self.wrapper = wrapper_of(LIBRARY, case.scene, **more)
        self.folder = Path(tempfile.gettempdir())

    def transport(self, replica: int) -> Tensor:
        """A muon bank [vol, mu, 9]."""
        with compiling(on=self.compiled):
            made, _ = transport(
                self.x0, self.world, self.muons, HighlandSettings(), SEED, "train", replica
            )
        return made

    def infer(self, state: States) -> None:
        """Hits, inference, loss, backward and update for a bank."""
        callbacks = [SpreadRangeLoss(), PanelCentring()] if self.case.scene == "ladle" else []
        with compiling(on=self.compiled):
            self.wrapper.fit(
                n_epochs=1,
                passive_bs=self.case.volumes,
                n_mu_per_volume=self.case.muons,
                mu_bs=self.case.muons,
                trn_passives=BankedPassives(self.x0, self.target, state),
                val_passives=None,
                cbs=callbacks,
                cb_savepath=self.folder,
            )

    def gradients(self) -> dict[str, Tensor]:
        """Gradient of the last step in each parameter of the panels, in float64."""
        named = self.wrapper.volume.named_parameters()
        return {name: p.grad.double().clone() for name, p in named if p.grad is not None}

    def __call__(self, replica: int) -> None:
        """Everything, muons included."""
        self.infer(self.transport(replica))


class BankedStep:
    """The same update with the muons read from a stored bank.

    Args:
        step: the update.
        store: where banks are put, one for each replica.
        replicas: how many.
    """

    def __init__(self, step: Step, store: Store, replicas: int) -> None:
        self.step, self.store = step, store
        self.refs = [put_bank(store, step.transport(k), k) for k in range(replicas)]

    def __call__(self, replica: int) -> None:
        """Read the bank with all its checks, then infer."""
        bank = self.store.open_dataset(self.refs[replica % len(self.refs)])
        self.step.infer(torch.from_numpy(bank.array("state")[0]))


def stream_bank(store: Store, step: Step) -> Any:
    """Transport the muons of a step and store them a few volumes at a time."""
    shape = (1, len(step.x0), step.case.muons, len(COLUMNS))
    spec = ArraySpec.promised(shape, "float64", ("replica", "volume", "muon", "column"))
    parts = transported(step.x0, step.world, step.muons, HighlandSettings(), SEED, "train")
    with store.draft("bank", f"{0:064x}") as draft:
        draft.put_rows("state", spec, (part.state[None].numpy() for part in parts))
        return store.commit(draft, {}, {}, {})


def put_bank(store: Store, state: Tensor, number: int) -> Any:
    """Store a bank as the pipeline does."""
    spec = ArraySpec(state[None].numpy(), ("replica", "volume", "muon", "column"))
    return store.put_dataset("bank", f"{number:064x}", {"state": spec}, {}, {})


Arm = Callable[[int], None]
"""Something that is timed; the argument numbers its calls."""
