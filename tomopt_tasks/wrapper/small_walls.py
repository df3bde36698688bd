"""The small-walls benchmark: a volume of soil between two stacks of panels (spec 10.2)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch.optim import SGD

from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel
from tomopt_tasks.muons.generators import MuonGenerator2016
from tomopt_tasks.volume.grid import whole_voxels
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.family import PanelVolumeWrapper

N_PANELS = 4
"""Panels on each side."""


def get_small_walls_volume(
    size: float = 1.0,
    passive_lwh: Sequence[float] = (10.0, 10.0, 10.0),
    span: float = 4.0,
    res: float = 1e4,
    eff: float = 1.0,
    det_height: float = 1.0,
    device: torch.device | str = "cpu",
) -> Volume:
    """An empty volume with four centred panels above and four below.

    Args:
        size: edge of a voxel [m].
        passive_lwh: length, width and height of the passive volume [m]; whole numbers of voxels.
        span: widths of the panels in units of length and width of the passive volume.
        res: inverse resolution [1/m].
        eff: efficiency.
        det_height: height of each detector layer [m].
        device: where the volume lives.
    """
    length, width, height = (float(v) for v in passive_lwh)
    lw = torch.tensor([length, width], device=device)

    def side(pos: str, top: float) -> PanelDetectorLayer:
        panels = [
            DetectorPanel(
                res=res,
                eff=eff,
                init_xyz=(length / 2, width / 2, top - det_height / N_PANELS * k),
                init_xy_span=(span * length, span * width),
                device=device,
            )
            for k in range(N_PANELS)
        ]
        return PanelDetectorLayer(pos, lw=lw, z=top, size=det_height, panels=panels)

    n_layers = whole_voxels(height, size, "passive_lwh[2]")
    tops = [det_height + (k + 1) * size for k in reversed(range(n_layers))]
    passives = [PassiveLayer(lw, z, size) for z in tops]
    above = side("above", height + 2 * det_height)
    return Volume([above, *passives, side("below", det_height)])


def get_small_walls_volume_wrapper(
    size: float = 1.0,
    passive_lwh: Sequence[float] = (10.0, 10.0, 10.0),
    span: float = 4.0,
    res: float = 1e4,
    eff: float = 1.0,
    det_height: float = 1.0,
    device: torch.device | str = "cpu",
) -> PanelVolumeWrapper:
    """The volume in a wrapper, with muons of 1 GeV and the rates of the benchmark.

    The rates suit gradients that miss the motion of a hit along its track (D-02); search for your
    own with ``OptConfig``. Arguments as ``get_small_walls_volume``.
    """
    volume = get_small_walls_volume(size, passive_lwh, span, res, eff, det_height, device)
    return PanelVolumeWrapper(
        volume,
        xy_pos_opt=partial(SGD, lr=5e4),
        z_pos_opt=partial(SGD, lr=5e3),
        xy_span_opt=partial(SGD, lr=1e4),
        mu_generator=MuonGenerator2016.from_volume(volume, fixed_mom=1.0),
    )
