"""The laws that losses and scenes obey, for ``tomopt check``, and the small world they hold in.

Each law is a function that gives what breaks it, empty if it holds. The world is lead in air
between two panels above and two below.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings, PanelSettings
from tomopt_tasks.losses.settings import OwnLossSettings
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.own import OwnPart, build_own
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.own_scene import checked, draw
from tomopt_tasks.volume.scene_settings import OwnSceneSettings
from tomopt_tasks.volume.settings import World
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.build import build_volume
from tomopt_tasks.wrapper.scans import BankedPassives

Law = Callable[[], str]
WORLD = World(size=(0.3, 0.2), passive=(0.2, 0.5), voxel=0.1, height=0.7)
STANDARD = World()
"""Objects are drawn for the world of a study that says nothing else."""
F64 = torch.float64


def detector() -> DetectorSettings:
    """Two panels above and two below."""
    layers = [
        LayerSettings(
            pos=pos,  # type: ignore[arg-type]
            z=top,
            size=0.2,
            panels=tuple(
                PanelSettings(name=f"{pos}[{i}]", xy=(0.15, 0.1), z=top - 0.05 - 0.1 * i)
                for i in range(2)
            ),
        )
        for pos, top in (("above", 0.7), ("below", 0.2))
    ]
    return DetectorSettings(layers=tuple(layers))


def grids() -> Tensor:
    """Lead in air, in two places."""
    x0 = torch.full((2, *WORLD.shape), 0.35, dtype=F64)
    x0[0, 1, 1, 1] = x0[1, 2, 0, 1] = 0.0056
    return x0


def passives(volumes: slice = slice(None)) -> BankedPassives:
    """The two volumes with 80 muons each, or some of them."""
    muons = MuonSettings(per_volume=80)
    state, _ = transport(grids(), WORLD, muons, HighlandSettings(), 1, "train")
    target = torch.tensor([0.4, 0.3], dtype=F64)
    return BankedPassives(grids()[volumes], target[volumes], state[volumes])


def irradiated() -> Volume:
    """The first of the volumes; target 0.4."""
    volume = build_volume(WORLD, detector())
    volume.load_rad_length(grids()[0], torch.tensor([0.4], dtype=F64))
    return volume


def same_settings(settings: OwnPart) -> str:
    """Settings are the same after a round trip through JSON."""
    again = type(settings).model_validate_json(settings.model_dump_json())
    return "" if again == settings else "they come back changed"


def loss_laws(settings: OwnLossSettings, *, voxels: bool) -> Mapping[str, Law]:
    """Of a loss.

    Args:
        settings: which.
        voxels: predictions are radiation lengths of voxels; otherwise one number a volume.
    """
    volume = irradiated()
    shape = WORLD.shape if voxels else (1,)
    pred = torch.rand(shape, generator=stream(1, "check"), dtype=F64) * 0.5 + 0.1

    def value(x: Tensor) -> Tensor:
        return torch.as_tensor(build_own(settings)(pred=x, volume=volume)).sum()

    return {
        "its value is a finite number": lambda: _finite(value(pred)),
        "the same prediction gives the same value": lambda: _same(value(pred), value(pred)),
        "its gradient is finite": lambda: _gradient(value, pred),
        "its gradient equals finite differences": lambda: _differences(value, pred),
        "its settings survive JSON": lambda: same_settings(settings),
    }


def _finite(value: Tensor) -> str:
    return "" if torch.isfinite(value).all() else f"got {float(value.detach())}"


def _same(one: Tensor, other: Tensor) -> str:
    return "" if torch.equal(one, other) else f"got {float(one)} and {float(other)}"


def _gradient(value: Callable[[Tensor], Tensor], pred: Tensor) -> str:
    leaf = pred.clone().requires_grad_()
    total = value(leaf)
    if not total.requires_grad:
        return "the value does not depend on the prediction"
    (gradient,) = torch.autograd.grad(total, leaf, allow_unused=True)
    if gradient is None:
        return "the value does not depend on the prediction"
    return "" if torch.isfinite(gradient).all() else "it has NaN or infinite entries"


def _differences(value: Callable[[Tensor], Tensor], pred: Tensor) -> str:
    good = torch.autograd.gradcheck(value, pred.clone().requires_grad_(), raise_exception=False)
    return "" if good else "autograd and finite differences disagree"


def scene_laws(settings: OwnSceneSettings) -> Mapping[str, Law]:
    """Of a family of objects."""

    def object_of(number: int) -> tuple[Tensor, float]:
        rng = stream(1, "scene", number)
        return checked(STANDARD, settings, draw(STANDARD, settings, rng))

    def drawn() -> str:
        object_of(0)
        return ""

    def repeated() -> str:
        return _same_objects(object_of(1), object_of(1))

    def apart() -> str:
        first = object_of(1)
        object_of(0)
        return _same_objects(first, object_of(1))

    def own_numbers() -> str:
        before = common_state()
        object_of(0)
        good = before == common_state()
        return "" if good else "it draws from the common random numbers; draw from rng"

    return {
        "it gives objects of this world": drawn,
        "the same stream gives the same object": repeated,
        "an object does not depend on those before": apart,
        "it draws from its stream only": own_numbers,
        "its settings survive JSON": lambda: same_settings(settings),
    }


def common_state() -> tuple[list[int], list[int]]:
    """Where the random numbers of everybody stand: those of torch and of numpy."""
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002, TID251
    return torch.get_rng_state().tolist(), [*state["key"].tolist(), state["pos"]]


def _same_objects(one: tuple[Tensor, float], other: tuple[Tensor, float]) -> str:
    return "" if torch.equal(one[0], other[0]) and one[1] == other[1] else "the two differ"
