"""Optimisers and schedules from their settings."""

import pytest
import torch

from tests.unit.wrapper.common import WORLD, detector, passives
from tomopt_tasks.inference.settings import PocaZFillLevelSettings
from tomopt_tasks.losses.settings import ExpectedMSELossSettings
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree, restore_volume, result_volume
from tomopt_tasks.wrapper.optimiser_settings import OPTIMISERS, ASGDSettings
from tomopt_tasks.wrapper.optimisers import MAKERS, build_optimiser
from tomopt_tasks.wrapper.schedule_settings import (
    SCHEDULES,
    CosineSettings,
    ExponentialSettings,
    LinearSettings,
    OneCycleSettings,
    StepSettings,
)
from tomopt_tasks.wrapper.settings import FitSettings, Phase

LEFT_OUT = {"LBFGS", "Muon", "SparseAdam", "Adafactor"}
"""Why: see the head of ``optimiser_settings.py``."""
OTHERWISE = {
    "momentum": 0.5, "beta2": 0.75, "eps": 0.25, "rho": 0.75, "nesterov": True, "amsgrad": True,
    "centred": True, "decay": 0.125, "power": 0.5, "average_after": 3, "momentum_decay": 0.5,
    "rate_decay": 0.5, "shrink": 0.25, "grow": 2.0, "smallest": 0.05, "largest": 8.0, "rate": 0.5,
}  # fmt: skip
"""A value of each setting that is no default."""


def made(kind, start=1.0, **settings):
    """A parameter and its optimiser."""
    parameter = torch.nn.Parameter(torch.tensor([start], dtype=torch.float64))
    return parameter, build_optimiser(OPTIMISERS[kind](**settings), [parameter], 0.01)


def test_every_optimiser_of_torch_is_there_or_left_out_for_a_reason():
    known = {
        name
        for name, each in vars(torch.optim).items()
        if isinstance(each, type) and issubclass(each, torch.optim.Optimizer)
    } - {"Optimizer"}
    offered = {type(made(kind)[1]).__name__ for kind in OPTIMISERS}
    assert offered | LEFT_OUT == known
    assert set(MAKERS) == set(OPTIMISERS)


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_defaults_are_those_of_torch_but_where_they_would_pull_positions(kind):
    _, opt = made(kind)
    theirs = type(opt)([torch.nn.Parameter(torch.ones(1))], lr=0.01).param_groups[0]
    ours = opt.param_groups[0]
    changed = {name for name in theirs if name != "params" and ours[name] != theirs[name]}
    assert changed == {
        "asgd": {"lambd", "t0"}, "adamw": {"weight_decay"}, "rprop": {"step_sizes"}
    }.get(kind, set())  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, settings in OPTIMISERS.items()
        for name in settings.model_fields
        if name not in ("kind", "rate")
    ],
)
def test_every_setting_reaches_the_optimiser(kind, name):
    more = {"momentum": 0.5} if name == "nesterov" else {}
    _, plain = made(kind, **more)
    _, other = made(kind, **more, **{name: OTHERWISE[name]})
    groups = [
        {key: value for key, value in opt.param_groups[0].items() if key != "params"}
        for opt in (plain, other)
    ]
    assert groups[0] != groups[1]


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_every_optimiser_goes_down_a_parabola(kind):
    parameter, opt = made(kind)
    for _ in range(60):
        opt.zero_grad()
        (parameter**2).sum().backward()
        opt.step()
    assert float(parameter.detach()) ** 2 < 0.999


@pytest.mark.parametrize("kind", [k for k, s in OPTIMISERS.items() if s.rate_is == "step"])
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_rate_that_is_a_step_is_one_whatever_the_gradient(kind, scale):
    """From the sixth update on, when RAdam has begun to know the size of the gradient."""
    parameter, opt = made(kind, start=1e4)
    for _ in range(7):
        before = float(parameter.detach())
        opt.zero_grad()
        (scale * parameter).sum().backward()
        opt.step()
    assert 1e-4 < abs(float(parameter.detach()) - before) < 0.05


def test_an_averaged_fit_ends_with_the_mean_over_its_updates():
    optimisers = {name: ASGDSettings(rate=1e-5) for name in ("xy", "z", "side")}
    fit = FitSettings(optimiser=optimisers, volumes_per_step=3, phases=(Phase(),))
    parts = (fit.phases[0], PocaZFillLevelSettings(), ExpectedMSELossSettings(), 1)
    tree, seen = first_tree(WORLD, detector()), []
    for epoch in range(2):  # two updates each, the panels stay within their layers
        run = PhaseFit(tree, *parts, new=epoch == 0)
        note = lambda _, state: seen.append(heights(restore_volume(state())))  # noqa: E731
        run.run(passives(), epoch, 3, new=epoch == 0, between_steps=note)
        tree = run.tree()
        seen.append(heights(restore_volume(tree)))
    found = heights(result_volume(tree))
    torch.testing.assert_close(found, torch.stack(seen[1:]).mean(0), rtol=0, atol=1e-9)
    assert not torch.equal(found, seen[-1])


def heights(volume):
    panels = [panel for layer in volume.get_detectors() for panel in layer.panels]
    return torch.stack([panel.z.detach() for panel in panels])


@pytest.mark.parametrize(
    ("schedule", "points"),
    [
        (LinearSettings(init=0.1, final=1.0, length=9), {0: 0.1, 3: 0.4, 9: 1.0, 12: 1.0}),
        (CosineSettings(final=0.2, length=4), {0: 1.0, 2: 0.6, 4: 0.2, 9: 0.2}),
        (
            CosineSettings(final=0.2, length=6, warmup=2, init=0.5),
            {0: 0.5, 1: 0.75, 2: 1.0, 4: 0.6, 6: 0.2, 7: 0.2},
        ),
        (ExponentialSettings(per_epoch=0.5, length=3), {0: 1.0, 1: 0.5, 2.5: 0.5**2.5, 8: 0.125}),
        (
            StepSettings(every=2, by=0.5, length=6, warmup=1, init=0.2),
            {0: 0.2, 0.5: 0.6, 1: 1.0, 2.9: 1.0, 3: 0.5, 5: 0.25, 20: 0.25},
        ),
        (OneCycleSettings(warmup=2, length=4), {0: 2.0, 1: 6.0, 2: 10.0, 3: 5.5, 4: 1.0, 5: 1.0}),
    ],
    ids=["linear", "cosine", "warmed cosine", "exponential", "step", "one_cycle"],
)
def test_schedules_take_their_points_and_hold_the_last(schedule, points):
    assert {e: schedule.factor(float(e)) for e in points} == pytest.approx(points, rel=1e-12)


def test_a_cycle_moves_the_momentum_too():
    cycle = OneCycleSettings(warmup=1, length=3, momentum=(0.9, 0.5, 0.8))
    assert [cycle.momentum_at(e) for e in (0.0, 1.0, 3.0, 4.0)] == [0.9, 0.5, 0.8, 0.8]


@pytest.mark.parametrize("kind", sorted(set(SCHEDULES) - {"constant"}))
def test_schedules_take_the_length_of_their_phase(kind):
    phase = Phase(epochs=3, schedule=SCHEDULES[kind]())
    found = FitSettings(phases=(phase,)).phases[0].schedule
    assert found.length == 3
    assert getattr(found, "warmup", 0) < 3
