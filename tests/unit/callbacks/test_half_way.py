"""A fit that is taken apart between any two updates goes on in fresh objects to the same bits.

Every optimiser of torch that steps by gradients alone, with every schedule and with every callback
that remembers something; the state goes through the bytes of a stored record.
"""

import math

import pytest
import torch
from torch import optim

from tests.unit.callbacks.test_state import MAKERS, WITH_STATE, equal, wrapper_for
from tests.unit.callbacks.toy import Wrapper, parameters, passives
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.schedules import OneCycle
from tomopt_tasks.callbacks.warmup import WarmupCallback
from tomopt_tasks.store import records
from tomopt_tasks.wrapper.files import restore_optimiser

TARGETS = (1.0, 2.0, 4.0, 5.0, 3.0)
STEPS = 3  # two volumes an update, the last one alone
EPOCHS = 4

OPTIMISERS = {
    "SGD": lambda p: optim.SGD(p, lr=1e-3),
    "SGD momentum": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, dampening=0.1),
    "SGD nesterov": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=1e-3),
    "Adam amsgrad": lambda p: optim.Adam(p, lr=1e-3, amsgrad=True, weight_decay=1e-3),
    "AdamW": lambda p: optim.AdamW(p, lr=1e-3),
    "Adamax": lambda p: optim.Adamax(p, lr=1e-3),
    "NAdam": lambda p: optim.NAdam(p, lr=1e-3),
    "RAdam": lambda p: optim.RAdam(p, lr=1e-3),
    "Adagrad": lambda p: optim.Adagrad(p, lr=1e-3, lr_decay=0.1),
    "Adadelta": lambda p: optim.Adadelta(p, lr=1e-1),
    "Adafactor": lambda p: optim.Adafactor(p, lr=1e-3),
    "RMSprop": lambda p: optim.RMSprop(p, lr=1e-3, centered=True, momentum=0.5),
    "Rprop": lambda p: optim.Rprop(p, lr=1e-3),
    "ASGD": lambda p: optim.ASGD(p, lr=1e-3),
}
NO_CLOSURE = {"LBFGS", "SparseAdam", "Muon"}  # a closure, sparse gradients, matrices only
SCHEDULES = {
    "constant": list,
    "OneCycle": lambda: [OneCycle("z", 1, 1e-3, 0.9, 1e-2, 0.8)],
    "RelativeSchedule": lambda: [MAKERS["RelativeSchedule"]()],
    "SigmoidPanelSmoothnessSchedule": lambda: [MAKERS["SigmoidPanelSmoothnessSchedule"]()],
}
WATCHING = [name for name in WITH_STATE if name not in SCHEDULES]


def test_every_optimiser_of_torch_is_tested_here():
    known = {
        name
        for name, value in vars(optim).items()
        if isinstance(value, type) and issubclass(value, optim.Optimizer)
    }
    assert known - NO_CLOSURE - {"Optimizer"} == {name.split()[0] for name in OPTIMISERS}


class Here(Exception):  # noqa: N818
    """Stops a fit between two updates."""


class Fit:
    """A fit that can be stopped, put into bytes, and continued from them."""

    def __init__(self, optimiser: str, schedule: str, watching: str) -> None:
        self.wrapper = Toy(OPTIMISERS[optimiser], wrapper_for(watching))
        schedules = SCHEDULES[schedule]()
        if schedule == "OneCycle" and not has_momentum(optimiser):
            schedules[0].mom = None
        if schedule == "RelativeSchedule" and not has_momentum(optimiser):
            schedules[0].momentum = None
        first = [] if "Warmup" in watching or watching == "OptConfig" else [WarmupCallback(1)]
        self.callbacks: list[Callback] = [*first, *schedules, MAKERS[watching]()]
        self.n_updates = 0

    def run(self, tmp_path, state: bytes | None = None, stop_after: int | None = None):
        wrapper = self.wrapper
        wrapper.begin(
            self.callbacks, n_epochs=EPOCHS, passive_bs=2, n_mu_per_volume=10, mu_bs=5,
            trn_passives=passives(*TARGETS), val_passives=None, cb_savepath=tmp_path,
        )  # fmt: skip
        fit = wrapper.fit_params
        if state is None:
            wrapper.hook("on_train_begin")
        else:
            self.load(records.unpack(state))

        def between_steps() -> None:
            self.n_updates += 1
            if self.n_updates == stop_after:
                raise Here

        fit.between_steps = between_steps
        while fit.epoch < EPOCHS:
            wrapper.fit_epoch()
            between_steps()

    def state(self) -> bytes:
        wrapper, fit = self.wrapper, self.wrapper.fit_params
        middle = fit.n_done > 0
        tree = {
            "volume": dict(wrapper.volume.state_dict()),
            "opts": {name: opt.state_dict() for name, opt in wrapper.opts.items()},
            "callbacks": [callback.state_dict() for callback in self.callbacks],
            "cost_coef": wrapper.loss_func.cost_coef,
            "fit": {
                "epoch": fit.epoch - 1 if middle else fit.epoch,
                "skip_opt_step": fit.skip_opt_step,
                "stop": fit.stop,
                "n_done": fit.n_done,
                "n_skipped": fit.n_skipped,
            },
        }
        return records.build(("checkpoint", "0" * 64), tree, {}, {})[1]

    def load(self, tree) -> None:
        wrapper = self.wrapper
        wrapper.volume.load_state_dict(tree["volume"])
        for name, opt in wrapper.opts.items():
            restore_optimiser(opt, tree["opts"][name])
        for callback, state in zip(self.callbacks, tree["callbacks"], strict=True):
            callback.load_state_dict(state)
        wrapper.loss_func.cost_coef = tree["cost_coef"]
        for name, value in tree["fit"].items():
            setattr(wrapper.fit_params, name, value)


class Toy(Wrapper):
    """The toy with any optimiser."""

    def __init__(self, build, other) -> None:
        super().__init__(other.volume)
        self.scan = other.scan
        panels = [panel for layer in self.volume.layers for panel in layer.panels]
        self.opts = {name: build([getattr(panel, name) for panel in panels]) for name in self.opts}


def has_momentum(optimiser: str) -> bool:
    opt = OPTIMISERS[optimiser]([torch.nn.Parameter(torch.ones(2))])
    return "betas" in opt.param_groups[0] or "momentum" in opt.param_groups[0]


def ends_alike(optimiser, schedule, watching, stops, tmp_path) -> Fit:
    """Compare with a fit that went straight through; gives that."""
    straight = Fit(optimiser, schedule, watching)
    straight.run(tmp_path)
    end = straight.state()
    for stop_after in stops:
        broken = Fit(optimiser, schedule, watching)
        with pytest.raises(Here):
            broken.run(tmp_path, stop_after=stop_after)
        resumed = Fit(optimiser, schedule, watching)
        resumed.run(tmp_path, state=broken.state())
        ours, theirs = parameters(resumed.wrapper), parameters(straight.wrapper)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert resumed.state() == end
    return straight


def moved(wrapper) -> bool:
    before = parameters(Toy(OPTIMISERS["SGD"], wrapper_for("OneCycle")))
    return any(not torch.equal(p, before[name]) for name, p in parameters(wrapper).items())


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimiser_with_every_schedule_resumes_at_an_epochs_end_and_in_its_middle(
    optimiser, schedule, tmp_path
):
    straight = ends_alike(optimiser, schedule, "EarlyStopping", (6, 7), tmp_path)
    assert moved(straight.wrapper)
    assert straight.n_updates == EPOCHS * STEPS


PAIRS = [
    (optimiser, schedule, watching)
    for row, watching in enumerate(WATCHING)
    if watching != "HeatMapGif"  # its toy has another detector
    for column, optimiser in enumerate(("SGD momentum", "Adam", "Rprop", "ASGD"))
    for schedule in [list(SCHEDULES)[(row + column) % len(SCHEDULES)]]
]


@pytest.mark.parametrize(("optimiser", "schedule", "watching"), PAIRS)
def test_every_callback_that_remembers_resumes_in_the_warmup_and_after_it(
    optimiser, schedule, watching, tmp_path
):
    ends_alike(optimiser, schedule, watching, (2, 8), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimiser", "schedule"),
    [
        pytest.param(optimiser, schedule, marks=() if row == column else pytest.mark.long)
        for row, optimiser in enumerate(OPTIMISERS)
        for column, schedule in enumerate(SCHEDULES)
    ],
)
def test_all_of_them_together_resume_between_any_two_updates(optimiser, schedule, tmp_path):
    for watching in WATCHING:
        if watching not in ("HeatMapGif", "GradientRecord", "HitRecord", "ScatterRecord"):
            ends_alike(optimiser, schedule, watching, range(1, EPOCHS * STEPS), tmp_path)


def test_what_is_compared_differs_where_fits_differ(tmp_path):
    ends = []
    for optimiser in ("SGD", "Adam"):
        one = Fit(optimiser, "constant", "BestKeeper")
        one.run(tmp_path)
        ends.append(one.state())
    assert ends[0] != ends[1]
    assert equal(math.nan, math.nan)
