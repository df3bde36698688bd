"""Whatever valid design looks at whatever valid object: losses and gradients are finite.

A design is drawn with two to four panels a side anywhere in their zones, wide or tiny, sharp or
blurred, with or without a budget; an object with any material in each voxel, vacuum included;
muons of any momentum and angle, with or without tails of scattering and loss of energy. Every
inferrer and a loss of its prediction share one backward pass. Two hundred in the fast suite, ten
thousand with ``-m long``; in double precision, as studies run. In single precision, as notebooks
may, panels are nearer to the muons and apart from each other: it has no squares of responses below
1e-19, nor slopes of panels at one height.
"""

import math

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.detectors.panel import DetectorPanel, SigmoidDetectorPanel
from tomopt_tasks.inference.classifiers import DenseBlockClassifierFromX0s
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.losses.base import AbsDetectorLoss
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.materials import MATERIALS
from tomopt_tasks.muons.batch import MuonBatch
from tomopt_tasks.rng import stream
from tomopt_tasks.scattering.settings import HighlandSettings, TableScatterSettings
from tomopt_tasks.volume.layer import PassiveLayer
from tomopt_tasks.volume.volume import Volume

N_MUONS = 24
X0S = [*sorted(material.x0 for material in MATERIALS.values()), math.inf]
MODELS = [
    "pdg",
    "pdg",
    "pdg",
    HighlandSettings(energy_loss=True),
    TableScatterSettings(),
    TableScatterSettings(energy_loss=True),
]
CHUNKS = 20
OPTIONS = {
    "suppress_health_check": list(HealthCheck),
    "phases": [Phase.explicit, Phase.generate],
    "database": None,
}


def floats(low, high):
    return st.floats(low, high, allow_nan=False)


def powers(low, high):
    return floats(low, high).map(lambda exponent: 10.0**exponent)


def cases(*, double):
    """Designs and objects; in single precision all panels are seen by most of the muons."""
    reach = (-1.0, 1.5) if double else (0.0, 0.4)
    side = powers(-1.3, 0.6) if double else floats(0.4, 4.0)
    panel = st.fixed_dictionaries(
        {
            "place": st.tuples(floats(*reach), floats(*reach), floats(0.0, 1.0)),
            "span": st.tuples(side, side),
            "res": powers(1.0, 7.0) if double else powers(2.0, 5.0),
            "eff": floats(0.01, 1.0) if double else floats(0.2, 1.0),
            "smooth": powers(-3.0, 0.5) if double else powers(-1.0, 0.5),
        }
    )
    panels = st.lists(panel, min_size=2, max_size=4)
    return st.fixed_dictionaries(
        {
            "above": panels,
            "below": panels,
            "sigmoid": st.booleans(),
            "soft_resolution": st.booleans() if double else st.just(value=False),
            "hard": st.booleans(),
            "budget": st.one_of(st.none(), powers(-2.0, 2.0) if double else floats(2.0, 20.0)),
            "x0": st.lists(st.sampled_from(X0S), min_size=1, max_size=4),
            "momentum": st.tuples(powers(-0.7, 2.0), powers(-0.7, 2.0)),
            "angle": st.sampled_from([0.0, 0.1, 0.6, 1.2] if double else [0.0, 0.1, 0.3]),
            "scatter": st.sampled_from(MODELS if double else ["pdg"]),
            "seed": st.integers(0, 2**31),
            "double": st.just(double),
        }
    )


def build_side(pos, top, case, lw):
    panels = []
    for drawn in case[pos]:
        x, y, part = drawn["place"]
        if not case["double"]:
            part = (len(panels) + 0.2 + 0.6 * part) / len(case[pos])
        kind = SigmoidDetectorPanel if case["sigmoid"] else DetectorPanel
        extra = {"smooth": drawn["smooth"]} if case["sigmoid"] else {}
        panel = kind(
            res=drawn["res"],
            eff=drawn["eff"],
            init_xyz=(x, y, top - 0.2 + 0.2 * part),
            init_xy_span=drawn["span"],
            **extra,
        )
        panel.soft_resolution = case["soft_resolution"]
        panels.append(panel.to(lw.dtype))
    return PanelDetectorLayer(pos, lw=lw, z=top, size=0.2, panels=panels)


def build(case):
    """The volume of a case, with its object."""
    lw = torch.tensor([0.3, 0.4], dtype=torch.float64 if case["double"] else torch.float32)
    model = case["scatter"]
    passives = [PassiveLayer(lw, 0.5 - 0.1 * k, 0.1, scatter_model=model) for k in range(3)]
    sides = build_side("above", 0.7, case, lw), build_side("below", 0.2, case, lw)
    volume = Volume([sides[0], *passives, sides[1]], budget=case["budget"]).to(lw.dtype)
    rng = stream(case["seed"], "object")
    x0s = torch.tensor(case["x0"], dtype=lw.dtype)
    cube = x0s[torch.randint(len(x0s), (3, 3, 4), generator=rng)]
    volume.load_rad_length(cube, lw.new_tensor([0.4]))
    volume.train(not case["hard"])
    return volume


def shoot(volume, case):
    """Scatters of a few muons that really fly through the volume."""
    rng = stream(case["seed"], "muons")
    u = torch.rand(N_MUONS, 5, generator=rng, dtype=torch.float64)
    low, high = (math.log(p) for p in case["momentum"])
    columns = [0.3 * u[:, 0], 0.4 * u[:, 1], (low + (high - low) * u[:, 2]).exp()]
    columns += [case["angle"] * u[:, 3], 2 * math.pi * u[:, 4]]
    mu = MuonBatch(torch.stack(columns, 1).to(volume.lw), init_z=volume.h)
    mu.rng = stream(case["seed"], "flight")
    volume(mu)
    return ScatterBatch(mu, volume)


def losses_of(volume, scatters):
    """Every inferrer with a loss of its prediction; None where nothing was accepted."""
    inferrers = {
        "voxels": (PanelX0Inferrer(volume), VoxelX0Loss(target_budget=2.0, cost_coef=0.1)),
        "level": (PocaZLadleFurnaceFillLevelInferrer(volume), VolumeMSELoss(target_budget=None)),
        "block": (
            DenseBlockClassifierFromX0s(3, PanelX0Inferrer, volume, cut_coef=100.0),
            VolumeMSELoss(target_budget=None),
        ),
    }
    found: dict[str, torch.Tensor] = {}
    for name, (inferrer, loss) in inferrers.items():
        inferrer.add_scatters(scatters)
        pred = inferrer.get_prediction()
        if pred is not None:
            assert isinstance(loss, AbsDetectorLoss)
            found[name] = loss(pred, volume).sum()
    return found


def check(case):
    volume = build(case)
    losses = losses_of(volume, shoot(volume, case))
    for name, loss in losses.items():
        assert torch.isfinite(loss), name
    if losses:
        total = torch.stack(list(losses.values())).sum()
        if total.requires_grad:
            total.backward()
    for name, parameter in volume.named_parameters():
        assert torch.isfinite(parameter).all(), name
        assert parameter.grad is None or torch.isfinite(parameter.grad).all(), name
    for layer in volume.get_detectors():
        layer.conform_detector()
        assert all(torch.isfinite(p).all() for p in layer.parameters())


@settings(max_examples=200, **OPTIONS)
@given(case=cases(double=True))
def test_losses_and_gradients_are_finite(case):
    check(case)


@settings(max_examples=40, **OPTIONS)
@given(case=cases(double=False))
def test_losses_and_gradients_are_finite_in_single_precision(case):
    check(case)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_losses_and_gradients_of_ten_thousand_designs_are_finite(chunk):
    @seed(chunk)
    @settings(max_examples=10_000 // CHUNKS, derandomize=False, **OPTIONS)
    @given(case=cases(double=True))
    def one(case):
        check(case)

    one()
