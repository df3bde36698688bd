"""The workloads, built from public names that the engine here and TomOpt share.

Imports torch alone, so that the environment of the other library can import this file too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch

MU_BATCH = 250
"""Muons a batch of TomOpt, as in its notebooks: the cheapest of those measured."""


@dataclass(frozen=True)
class Case:
    """Volumes that are irradiated for one update."""

    scene: str
    """``small``, ``ladle`` or ``walls``."""
    volumes: int
    muons: int = 1000
    """In each volume."""

    @property
    def name(self) -> str:
        """As the tables call it."""
        return f"{self.scene} {self.volumes}x{self.muons}"

    @property
    def total(self) -> int:
        """Muons of one step."""
        return self.volumes * self.muons


CASES = (Case("small", 1), Case("small", 40), Case("ladle", 40), Case("walls", 8))

MOMENTUM = {"small": 5.0, "ladle": 5.0, "walls": 1.0}
"""Of every muon [GeV]."""


def volume_of(library: SimpleNamespace, scene: str, voxel: float = 0.1) -> Any:
    """The detector of a scene around empty voxels.

    Args:
        library: its classes, by their names.
        scene: see :class:`Case`.
        voxel: edge of the voxels of ``small`` [m].
    """
    if scene == "ladle":
        return library.Volume(library.get_initial_detector(), budget=6.0)
    if scene == "walls":
        side, voxel, tops, span, eff = 10.0, 1.0, [*range(11, 1, -1)], 40.0, 1.0
        heights = ([12.0, 11.75, 11.5, 11.25], [1.0, 0.75, 0.5, 0.25])
        layers, centre = (12.0, 1.0), 5.0
    else:
        n_layers = round(0.6 / voxel)
        tops = [0.2 + k * voxel for k in range(n_layers, 0, -1)]
        side, span, eff = 1.0, 1.0, 0.9
        heights = ([1.0, 0.95, 0.9, 0.85], [0.2, 0.15, 0.1, 0.05])
        layers, centre = (1.0, 0.2), 0.25
    lw = torch.tensor([side, side])
    thickness = 1.0 if scene == "walls" else 0.2

    def panels(zs: Sequence[float]) -> list[Any]:
        return [
            library.DetectorPanel(
                res=1e4, eff=eff, init_xyz=(centre, centre, z), init_xy_span=(span, span)
            )
            for z in zs
        ]

    above, below = (
        library.PanelDetectorLayer(pos, lw=lw, z=top, size=thickness, panels=panels(zs))
        for pos, top, zs in zip(("above", "below"), layers, heights, strict=True)
    )
    passives = [library.PassiveLayer(lw=lw, z=float(z), size=voxel) for z in tops]
    return library.Volume(torch.nn.ModuleList([above, *passives, below]))


def wrapper_of(library: SimpleNamespace, scene: str, voxel: float = 0.1, **more: Any) -> Any:
    """A wrapper with optimisers of rate zero, so that every step sees the same detector.

    Args:
        library: its classes, by their names.
        scene: see :class:`Case`.
        voxel: see :func:`volume_of`.
        more: further arguments of the wrapper.
    """
    volume = volume_of(library, scene, voxel)
    still = partial(torch.optim.SGD, lr=0.0)
    opts: dict[str, Any] = {"xy_pos_opt": still, "z_pos_opt": still, "xy_span_opt": still}
    if scene == "ladle":
        opts["budget_opt"] = still
        more["partial_volume_inferrer"] = partial(library.FillLevelInferrer, smooth=1.0)
        loss = library.VolumeMSELoss(target_budget=None)
    else:
        loss = library.VoxelX0Loss(target_budget=20.0 if scene == "small" else None)
    generator = library.MuonGenerator2016.from_volume(volume, fixed_mom=MOMENTUM[scene])
    return library.PanelVolumeWrapper(
        volume, **opts, loss_func=loss, mu_generator=generator, **more
    )


def layout(x0: torch.Tensor, low: float, voxel: float) -> Callable[..., torch.Tensor]:
    """What ``load_rad_length`` takes, from a grid [z, x, y] whose lowest layer comes first."""

    def load(*, z: Any, lw: Any = None, size: Any = None) -> torch.Tensor:
        return x0[round((float(z) - low) / voxel) - 1]

    return load


LOW_AND_VOXEL = {"small": (0.2, 0.1), "ladle": (0.4, 0.1), "walls": (1.0, 1.0)}
"""Bottom of the voxels and their edge [m]."""
