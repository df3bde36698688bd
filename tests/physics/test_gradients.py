"""Gradients of the ladle loss equal central differences with common random numbers, in float64."""

import pytest
import torch
from torch import Tensor

from tomopt_tasks.detectors.settings import DetectorSettings, LayerSettings, PanelSettings
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.losses.settings import (
    ExpectedMSELossSettings,
    LossSettings,
    SpreadRangeLossSettings,
    VolumeMSELossSettings,
)
from tomopt_tasks.muons.settings import MuonSettings
from tomopt_tasks.scattering.settings import HighlandSettings
from tomopt_tasks.transport.bank import transport
from tomopt_tasks.volume.scenes import make_scene
from tomopt_tasks.volume.settings import LadleFurnaceSettings, World
from tomopt_tasks.wrapper.build import build_loss, build_volume, build_wrapper
from tomopt_tasks.wrapper.family import ArbVolumeWrapper
from tomopt_tasks.wrapper.scans import BankedPassives

WORLD = World()
STEP = 1e-6
"""Step of the central differences [m, or unit of a budget weight]."""


def _detector(kind: str, smooth: float, *, soft_resolution: bool) -> DetectorSettings:
    heights = {"above": (1.76, 1.66, 1.55, 1.45), "below": (0.36, 0.27, 0.15, 0.04)}
    tops = {"above": 1.8, "below": 0.4}
    layers = tuple(
        LayerSettings(
            pos=pos,
            z=tops[pos],
            size=0.4,
            panels=tuple(
                PanelSettings(
                    name=f"{pos}[{i}]",
                    kind=kind,
                    xy=(0.45 + 0.03 * i, 0.52 - 0.02 * i),
                    z=z,
                    span=(0.8 + 0.05 * i, 0.9 - 0.04 * i),
                    smooth=smooth,
                    soft_resolution=soft_resolution,
                )
                for i, z in enumerate(zs)
            ),
        )
        for pos, zs in heights.items()
    )
    return DetectorSettings(layers=layers, budget=6.0)


@pytest.fixture(scope="module")
def passives() -> BankedPassives:
    scene = LadleFurnaceSettings(heights=(0.7, 0.9, 1.1), per_height=2)
    x0, target = make_scene(WORLD, scene, 3, "train")
    muons = MuonSettings(per_volume=300)
    state, _ = transport(x0, WORLD, muons, HighlandSettings(), 3, "train")
    return BankedPassives(x0, target, state)


def _wrapper(
    detector: DetectorSettings, inference: PocaZFillLevelSettings, loss: LossSettings
) -> tuple[ArbVolumeWrapper, list]:
    volume = build_volume(WORLD, detector)
    loss_func, callbacks = build_loss(loss)
    return build_wrapper(volume, inference, loss_func, {}, seed=5), callbacks


def _loss(wrapper: ArbVolumeWrapper, callbacks: list, passives: BankedPassives) -> Tensor:
    """The loss of one batch as the loop computes it; equal noise at every call."""
    wrapper.begin(callbacks, trn_passives=passives, passive_bs=len(passives), epoch=0)
    wrapper.fit_epoch()
    assert wrapper.fit_params.mean_loss is not None
    return wrapper.fit_params.mean_loss.sum()


CASES = {
    "sigmoid, expected mse": ("sigmoid", 0.2, False, "two_each_side", ExpectedMSELossSettings()),
    "sigmoid, all panels": ("sigmoid", 0.3, False, "all_panels", SpreadRangeLossSettings()),
    "soft resolution": ("sigmoid", 0.5, True, "two_each_side", SpreadRangeLossSettings()),
    "gaussian": ("panel", 1.0, True, "two_each_side", VolumeMSELossSettings()),
}


@pytest.mark.parametrize("case", CASES)
def test_every_gradient_equals_its_central_difference(case: str, passives: BankedPassives) -> None:
    """D-02, D-65: x, y, z, span and budget share of every panel, to 1e-4 of the largest."""
    kind, smooth, soft_resolution, policy, loss = CASES[case]
    detector = _detector(kind, smooth, soft_resolution=soft_resolution)
    wrapper, callbacks = _wrapper(detector, PocaZFillLevelSettings(acceptance=policy), loss)
    volume = wrapper.volume
    parameters = dict(volume.named_parameters())
    assert {name.rsplit(".", 1)[-1] for name in parameters} == {
        "xy", "z", "xy_span", "budget_weights",
    }  # fmt: skip
    for parameter in parameters.values():
        parameter.grad = None
    _loss(wrapper, callbacks, passives)
    gradients = {name: p.grad.clone() for name, p in parameters.items()}
    for name, parameter in parameters.items():
        flat = parameter.data.view(-1)
        differences = torch.zeros_like(flat)
        for i in range(len(flat)):
            value = float(flat[i])
            sides = []
            for sign in (1.0, -1.0):
                flat[i] = value + sign * STEP
                sides.append(float(_loss(wrapper, callbacks, passives).detach()))
            flat[i] = value
            differences[i] = (sides[0] - sides[1]) / (2 * STEP)
        got = gradients[name].view(-1)
        scale = max(float(differences.abs().max()), 1e-2)
        torch.testing.assert_close(got, differences, rtol=1e-4, atol=1e-4 * scale)
        assert float(got.abs().max()) > 0 or name.endswith("xy_span")


def test_widths_only_set_the_aspect_ratio_under_a_budget(passives: BankedPassives) -> None:
    """Scaling both widths of a panel changes nothing; so its gradient along them vanishes."""
    detector = _detector("sigmoid", 0.2, soft_resolution=False)
    wrapper, callbacks = _wrapper(detector, PocaZFillLevelSettings(), ExpectedMSELossSettings())
    _loss(wrapper, callbacks, passives)
    for layer in wrapper.volume.get_detectors():
        for panel in layer.panels:
            along = float((panel.xy_span.grad * panel.xy_span.detach()).sum())
            across = float(panel.xy_span.grad.abs().max())
            assert across > 0
            assert abs(along) < 1e-9 * max(1.0, across)
