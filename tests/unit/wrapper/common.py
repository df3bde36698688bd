"""A small ladle and its muons, for tests of the loop."""

from collections.abc import Iterator
from functools import lru_cache

from torch import Tensor

from tomopt_tasks.callbacks.base import HOOKS, Callback
from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings, PanelSettings
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.build import build_volume
from tomopt_tasks.wrapper.scans import BankedPassives

WORLD = World()
HEIGHTS = {"above": (1.76, 1.66, 1.55, 1.45), "below": (0.36, 0.27, 0.15, 0.04)}


def detector(budget: float | None = 6.0, smooth: float = 0.3) -> DetectorSettings:
    """Four panels a side, centred."""
    layers = tuple(
        LayerSettings(
            pos=pos,
            z={"above": 1.8, "below": 0.4}[pos],
            size=0.4,
            panels=tuple(
                PanelSettings(name=f"{pos}[{i}]", xy=(0.5, 0.5), z=z, smooth=smooth)
                for i, z in enumerate(heights)
            ),
        )
        for pos, heights in HEIGHTS.items()
    )
    return DetectorSettings(layers=layers, budget=budget)


@lru_cache(maxsize=4)
def passives(per_height: int = 2, n_muons: int = 60) -> BankedPassives:
    """Volumes at three fill heights with their bank."""
    scene = LadleFurnaceSettings(heights=(0.7, 0.9, 1.1), per_height=per_height)
    x0, target = make_scene(WORLD, scene, 3, "train")
    state, _ = transport(
        x0, WORLD, MuonSettings(per_volume=n_muons), HighlandSettings(), 3, "train"
    )
    return BankedPassives(x0, target, state)


class HookRecord(Callback):
    """Writes down every hook with the state and volume at which it fired."""

    def __init__(self) -> None:
        self.fired: list[tuple[str, str | None, int | None]] = []

    def __getattribute__(self, name: str) -> object:
        if name in HOOKS:
            fit = object.__getattribute__(self, "wrapper").fit_params
            volume = fit.volume_id if "volume_" not in name or "batch" not in name else None
            object.__getattribute__(self, "fired").append((name, fit.state, volume))
        return object.__getattribute__(self, name)

    def names(self) -> list[str]:
        """The hooks alone."""
        return [name for name, _, _ in self.fired]


def notebook_volume(budget: float | None = None) -> Volume:
    """The same detector as a notebook would build it."""
    return build_volume(WORLD, detector(budget))


class Ladles:
    """Ladles as (layout, target) pairs, in a fixed order."""

    def __init__(self, n: int) -> None:
        scene = LadleFurnaceSettings(heights=(0.7, 0.9, 1.1), per_height=2)
        x0, target = make_scene(WORLD, scene, 3, "train")
        self.pairs = [(x0[i], target[i : i + 1]) for i in range(n)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.pairs)


def scene_yielder(n: int) -> Ladles:
    """The first ladles."""
    return Ladles(n)
