"""Every member of every family, and a small world in which each can work."""

from functools import partial

import torch
from torch import nn

from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.hits import Lines
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel
from tomopt_tasks.inference.classifiers import (
    DenseBlockClassifierFromX0s,
    VoxelClassifierFromX0s,
)
from tomopt_tasks.inference.edges import EdgeDetLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.learned import DeepVolumeInferrer, VolumeNet
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.voxels import PanelX0Inferrer, TomOptX0, UnbiasedX0
from tomopt_tasks.losses.ladle import LadleFurnaceIntClassLoss
from tomopt_tasks.losses.volumes import VolumeClassLoss, VolumeIntClassLoss, VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelClassLoss, VoxelX0Loss
from tomopt_tasks.materials import X0
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.volume.benchmarks import (
    LadleFurnacePassiveGenerator,
    SmallWallsPassiveGenerator,
    ULorryPassiveGenerator,
)
from tomopt_tasks.volume.blocks import (
    BlockPresentPassiveGenerator,
    RandomBlockPassiveGenerator,
    VoxelPassiveGenerator,
)
from tomopt_tasks.volume.cargo import RandomCargoPassiveGenerator
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume

F64 = torch.float64
SIZE = 0.1
SHAPE = (6, 5, 6)
"""Voxels along z, x, y; the two widths differ, so that mixed-up axes show."""
HEIGHTS = {"above": (0.99, 0.93, 0.86), "below": (0.19, 0.12, 0.04)}
TOPS = {"above": 1.0, "below": 0.2}
N_MUONS = 60

PLACE = {"res": 1e4, "eff": 0.9}
PANELS = {
    "DetectorPanel": lambda **kw: DetectorPanel(**PLACE, init_xy_span=(0.7, 0.6), **kw),
    "SigmoidDetectorPanel": lambda **kw: SigmoidDetectorPanel(
        smooth=0.5, **PLACE, init_xy_span=(0.7, 0.6), **kw
    ),
    "DetectorHeatMap": lambda **kw: DetectorHeatMap(
        **PLACE, init_xy_span=(-0.4, 0.4), n_cluster=3, rng=stream(31, "map"), **kw
    ),
}

X0_MAP = partial(PanelX0Inferrer, method=UnbiasedX0())
INFERRERS = {
    "PanelX0Inferrer": X0_MAP,
    "PanelX0Inferrer (TomOpt)": partial(PanelX0Inferrer, method=TomOptX0()),
    "PocaZLadleFurnaceFillLevelInferrer": partial(PocaZLadleFurnaceFillLevelInferrer, smooth=0.5),
    "DenseBlockClassifierFromX0s": partial(
        DenseBlockClassifierFromX0s, 12, X0_MAP, use_avgpool=False, cut_coef=10.0
    ),
    "VoxelClassifierFromX0s": partial(VoxelClassifierFromX0s, (0.005, 0.3), X0_MAP),
    "EdgeDetLadleFurnaceFillLevelInferrer": partial(EdgeDetLadleFurnaceFillLevelInferrer, X0_MAP),
    "DeepVolumeInferrer": lambda volume: DeepVolumeInferrer(volume, net()),
}
PREDICTIONS = {
    "PanelX0Inferrer": SHAPE,
    "PanelX0Inferrer (TomOpt)": SHAPE,
    "PocaZLadleFurnaceFillLevelInferrer": (1,),
    "DenseBlockClassifierFromX0s": (1, 1),
    "VoxelClassifierFromX0s": (1, 2, SHAPE[0] * SHAPE[1] * SHAPE[2]),
    "EdgeDetLadleFurnaceFillLevelInferrer": (SHAPE[0] - 1,),
    "DeepVolumeInferrer": (1,),
}
"""Shape of what each predicts for one volume."""

CLASSES = {X0["iron"]: 0, X0["lead"]: 1, X0["water"]: 2}
LOSSES = {
    "VoxelX0Loss": VoxelX0Loss,
    "VoxelClassLoss": partial(VoxelClassLoss, x02id=CLASSES),
    "VolumeClassLoss": partial(VolumeClassLoss, x02id=CLASSES),
    "VolumeMSELoss": VolumeMSELoss,
    "VolumeIntClassLoss": partial(
        VolumeIntClassLoss, targ2int=lambda t, _: t.round().long(), pred_int_start=0, use_mse=True
    ),
    "LadleFurnaceIntClassLoss": partial(LadleFurnaceIntClassLoss, use_mse=False),
}

GENERATORS = {
    "VoxelPassiveGenerator": VoxelPassiveGenerator,
    "RandomBlockPassiveGenerator": partial(
        RandomBlockPassiveGenerator,
        block_size=None,
        sort_x0=True,
        enforce_diff_mat=True,
        block_size_max_half=True,
    ),
    "BlockPresentPassiveGenerator": partial(
        BlockPresentPassiveGenerator, block_size=[0.2, 0.3, 0.4], materials=["beryllium", "lead"]
    ),
    "LadleFurnacePassiveGenerator": LadleFurnacePassiveGenerator,
    "ULorryPassiveGenerator": partial(ULorryPassiveGenerator, u_volume=0.012),
    "SmallWallsPassiveGenerator": SmallWallsPassiveGenerator,
    "RandomCargoPassiveGenerator": partial(RandomCargoPassiveGenerator, kind="complex"),
}


def net():
    """A small net with weights that are not zero."""
    model = VolumeNet(width=4).double()
    rng = stream(31, "net")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=rng, dtype=F64))
    return model


def make_volume(panel="SigmoidDetectorPanel", budget=None, dtype=F64):
    """Iron between three panels above and three below; 0.5 m by 0.6 m."""
    lw = torch.tensor([SHAPE[1] * SIZE, SHAPE[2] * SIZE], dtype=F64)

    def side(pos):
        panels = [
            PANELS[panel](init_xyz=(0.22 + 0.03 * k, 0.33 - 0.02 * k, z)).to(F64)
            for k, z in enumerate(HEIGHTS[pos])
        ]
        return PanelDetectorLayer(pos, lw=lw, z=TOPS[pos], size=0.2, panels=panels)

    passives = [PassiveLayer(lw, 0.8 - SIZE * k, SIZE) for k in range(SHAPE[0])]
    layers = nn.ModuleList([side("above"), *passives, side("below")])
    volume = Volume(layers, budget=budget).to(dtype)
    volume.load_rad_length(torch.full(SHAPE, X0["iron"], dtype=dtype))
    return volume


def kinks(n_muons=N_MUONS):
    """Lines above and below that meet at random points of the passive volume."""
    rng = stream(31, "kinks")

    def draw(*shape):
        return torch.rand(n_muons, *shape, generator=rng, dtype=F64)

    point = draw(3) * torch.tensor([0.5, 0.6, 0.6], dtype=F64) + torch.tensor([0, 0, 0.2])
    slope = 0.4 * (draw(2) - 0.5)
    after = slope + 0.04 * (draw(2) - 0.5)
    top = point[:, :2] - slope * (0.8 - point[:, 2:])
    bottom = point[:, :2] + after * (point[:, 2:] - 0.2)
    return Lines(top, slope, 0.8), Lines(bottom, after, 0.2), 1.0 + 5.0 * draw()


def measure(volume):
    """Scatters of a fixed exposure with fixed noise."""
    volume.assign_budget()
    above, below, momentum = kinks()
    dtype = volume.lw.dtype
    lines = {
        pos: Lines(part.offset.to(dtype), part.slope.to(dtype), part.z)
        for pos, part in (("above", above), ("below", below))
    }
    mu = MuonBatch.from_lines(
        lines["above"].offset, lines["above"].slope, momentum.to(dtype), above.z
    )
    for layer in volume.get_detectors():
        noise = torch.randn(N_MUONS, 3, 2, generator=stream(31, "hits", layer.pos), dtype=F64)
        true = lines[layer.pos]
        mu.record(layer.pos, true, layer.measure(true, noise.to(dtype)))
    return ScatterBatch(mu, volume)


def predict(volume, inferrer):
    """What an inferrer says about the fixed exposure."""
    made = INFERRERS[inferrer](volume=volume)
    made.add_scatters(measure(volume))
    return made.get_prediction()


def weighted(values):
    """One number that depends on every element."""
    flat = values.reshape(-1)
    weights = torch.linspace(0.5, 1.5, flat.numel(), dtype=flat.dtype, device=flat.device)
    return (flat * weights).sum()


def slope_along(function, parameters, step):
    """Automatic and central-difference derivative along one random direction of all parameters.

    The direction is scaled so that each parameter moves by ``step`` of its own unit.
    """
    for parameter in parameters:
        parameter.grad = None
    function().backward()
    rng = stream(31, "direction")
    ways = [torch.randn(p.shape, generator=rng, dtype=p.dtype) for p in parameters]
    found = sum(
        float((p.grad * way).sum())
        for p, way in zip(parameters, ways, strict=True)
        if p.grad is not None
    )
    sides = []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            for p, way in zip(parameters, ways, strict=True):
                p.add_(sign * step * way)
            sides.append(float(function().detach()))
            for p, way in zip(parameters, ways, strict=True):
                p.sub_(sign * step * way)
    return found, (sides[0] - sides[1]) / (2 * step)


def members(base, package):
    """Names of all final classes below a base, defined in this package."""
    found = set()
    for child in base.__subclasses__():
        below = members(child, package)
        found |= below or ({child.__name__} if child.__module__.startswith(package) else set())
    return found
