"""What every callback remembers survives a file, and continues where it was."""

import importlib
import math
import pkgutil

import pytest
import torch

import tomopt_tasks.callbacks as package
from tests.unit.callbacks.test_saving import heat_map_wrapper
from tests.unit.callbacks.toy import Volume, Wrapper, fit, parameters, real_volume, scatters
from tomopt_tasks.callbacks.base import HOOKS, Callback
from tomopt_tasks.callbacks.cost import BatchCost
from tomopt_tasks.callbacks.detector import PanelCentring, PanelUpdateLimiter, TieGradients
from tomopt_tasks.callbacks.gradients import NoMoreNaNs
from tomopt_tasks.callbacks.heatmap_gif import HeatMapGif
from tomopt_tasks.callbacks.ladle import LinearCorrectionCallback
from tomopt_tasks.callbacks.metrics import CalibratedRMSE, EvalMetric
from tomopt_tasks.callbacks.monitors import MetricLogger, PanelMetricLogger
from tomopt_tasks.callbacks.nonfinite import GradientRecord
from tomopt_tasks.callbacks.predictions import (
    PredHandler,
    Save2HDF5PredHandler,
    VolumeTargetPredHandler,
)
from tomopt_tasks.callbacks.records import HitRecord, ScatterRecord
from tomopt_tasks.callbacks.schedules import (
    OneCycle,
    RelativeSchedule,
    SigmoidPanelSmoothnessSchedule,
)
from tomopt_tasks.callbacks.stopping import BestKeeper, DivergenceGuard, EarlyStopping
from tomopt_tasks.callbacks.warmup import CostCoefWarmup, OptConfig, WarmupCallback
from tomopt_tasks.wrapper.schedule_settings import OneCycleSettings

MAKERS = {
    "WarmupCallback": lambda: WarmupCallback(2),
    "CostCoefWarmup": lambda: CostCoefWarmup(2),
    "BatchCost": lambda: BatchCost(1.0),
    "OptConfig": lambda: OptConfig(2, {"z": 0.01}),
    "OneCycle": lambda: OneCycle("z", 1, 0.1, 0.9, 1.0, 0.8),
    "RelativeSchedule": lambda: RelativeSchedule(
        "z", OneCycleSettings(warmup=1, length=4).factor, 4, lambda epochs: 0.9 - 0.1 * epochs
    ),
    "SigmoidPanelSmoothnessSchedule": lambda: SigmoidPanelSmoothnessSchedule((1.0, 0.1)),
    "PanelUpdateLimiter": lambda: PanelUpdateLimiter(0.01),
    "PanelCentring": PanelCentring,
    "TieGradients": lambda: TieGradients("z", [[0, 1]]),
    "NoMoreNaNs": NoMoreNaNs,
    "LinearCorrectionCallback": LinearCorrectionCallback,
    "CalibratedRMSE": CalibratedRMSE,
    "EvalMetric": lambda: EvalMetric(lower_metric_better=True),
    "MetricLogger": lambda: MetricLogger(report=lambda line: None),
    "PanelMetricLogger": lambda: PanelMetricLogger(report=lambda line: None),
    "GradientRecord": GradientRecord,
    "PredHandler": PredHandler,
    "VolumeTargetPredHandler": VolumeTargetPredHandler,
    "Save2HDF5PredHandler": lambda: Save2HDF5PredHandler("none.h5", use_volume_target=True),
    "HitRecord": HitRecord,
    "ScatterRecord": ScatterRecord,
    "EarlyStopping": lambda: EarlyStopping(3),
    "BestKeeper": BestKeeper,
    "DivergenceGuard": DivergenceGuard,
    "HeatMapGif": HeatMapGif,
}
WITH_STATE = sorted(name for name, make in MAKERS.items() if make().remembers)
SCHEDULES = (
    "CostCoefWarmup", "OptConfig", "OneCycle", "RelativeSchedule",
    "SigmoidPanelSmoothnessSchedule", "LinearCorrectionCallback", "BestKeeper", "TieGradients",
    "DivergenceGuard", "EarlyStopping", "PanelUpdateLimiter", "NoMoreNaNs",
)  # fmt: skip


def equal(a, b):
    """Equality of nested states, NaN and tensors included."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    both_nan = isinstance(a, float) and math.isnan(a) and math.isnan(b)
    return type(a) is type(b) and (a == b or both_nan)


def wrapper_for(name):
    """A wrapper that gives the callback something to remember."""
    if name == "HeatMapGif":
        return heat_map_wrapper()
    wrapper = Wrapper(Volume(), opt=torch.optim.Adam)
    if name in ("GradientRecord", "HitRecord", "ScatterRecord"):
        real = real_volume().train()
        wrapper.scan = lambda: scatters(real)
    return wrapper


@pytest.mark.parametrize("name", WITH_STATE)
def test_state_of_every_callback_survives_a_file_that_holds_no_code(tmp_path, name):
    callback, wrapper = MAKERS[name](), wrapper_for(name)
    fit([callback], tmp_path, n_epochs=3, valid=(1.0,), wrapper=wrapper)
    if isinstance(callback, PredHandler) and not isinstance(callback, Save2HDF5PredHandler):
        wrapper.predict([(torch.ones(2, 3, 3), torch.ones(1))], 10, 5, callback)
    state = callback.state_dict()
    torch.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    fresh = MAKERS[name]()
    fresh.load_state_dict(loaded)
    assert equal(fresh.state_dict(), state)


@pytest.mark.parametrize("name", WITH_STATE)
def test_a_state_that_was_taken_does_not_change_when_the_fit_goes_on(tmp_path, name):
    callback, wrapper = MAKERS[name](), wrapper_for(name)
    fit([callback], tmp_path, n_epochs=2, wrapper=wrapper)
    state = callback.state_dict()
    torch.save(state, tmp_path / "state.pt")
    wrapper.fit_epoch()
    assert equal(torch.load(tmp_path / "state.pt", weights_only=True), state)


class Interrupt(Callback):
    """Puts everything into a file after an epoch, as a pipeline does."""

    def __init__(self, after, path, others):
        self.after, self.path, self.others = after, path, others

    def on_epoch_end(self):
        fit_params = self.fit_params
        if fit_params.state == "train" and fit_params.epoch == self.after:
            self.attached.save(self.path / "wrapper.pt")
            states = [other.state_dict() for other in self.others]
            loss = {"cost_coef": self.attached.loss_func.cost_coef}
            skip = fit_params.skip_opt_step
            torch.save({"cbs": states, "skip": skip, **loss}, self.path / "callbacks.pt")


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("after", [1, 3])
def test_a_fit_continued_from_a_file_ends_with_the_same_bits(tmp_path, name, after):
    def callbacks():
        return [WarmupCallback(1), MAKERS[name]()] if "Warmup" not in name else [MAKERS[name]()]

    options = {"n_epochs": 5, "targets": (1.0, 2.0, 4.0), "bs": 2}
    whole = callbacks()
    straight = Wrapper(lr=1e-3, momentum=0.5)
    fit([*whole, Interrupt(after, tmp_path, whole)], tmp_path, wrapper=straight, **options)

    class Resume(Callback):
        def on_train_begin(self):
            saved = torch.load(tmp_path / "callbacks.pt", weights_only=True)
            for callback, state in zip(resumed, saved["cbs"], strict=True):
                callback.load_state_dict(state)
            self.attached.load(tmp_path / "wrapper.pt")
            self.attached.loss_func.cost_coef = saved["cost_coef"]
            self.fit_params.skip_opt_step = saved["skip"]
            self.fit_params.epoch = after
            self.fit_params.n_epochs = 5

    resumed, second = callbacks(), Wrapper(lr=1e-3, momentum=0.5)
    rest = {**options, "n_epochs": 5 - after}
    fit([*resumed, Resume()], tmp_path, wrapper=second, **rest)
    ours, theirs = parameters(second), parameters(straight)
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert second.get_opt_lr("z") == straight.get_opt_lr("z")
    assert equal([c.state_dict() for c in resumed], [c.state_dict() for c in whole])


def test_a_state_of_another_version_is_refused():
    with pytest.raises(ValueError, match="another version"):
        NoMoreNaNs().load_state_dict({"something": 1})


def classes():
    for module in pkgutil.iter_modules(package.__path__):
        found = importlib.import_module(f"{package.__name__}.{module.name}")
        for name, value in vars(found).items():
            local = getattr(value, "__module__", "") == found.__name__
            if local and isinstance(value, type) and not name.startswith("_"):
                yield name, value


def test_every_public_callback_can_be_imported_from_the_package():
    callbacks = {name for name, value in classes() if issubclass(value, Callback)}
    assert callbacks - {"LossWatcher"} <= set(package.__all__)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name


def test_every_callback_that_remembers_something_is_tested_here():
    remembering = {n for n, v in classes() if issubclass(v, Callback) and v.remembers}
    assert remembering - {"PostWarmupCallback", "AbsOptSchedule", "LossWatcher"} <= set(MAKERS)


def test_hooks_of_the_base_do_nothing_but_need_a_wrapper_at_the_start():
    callback = Callback()
    for hook in HOOKS:
        if hook in ("on_train_begin", "on_pred_begin"):
            with pytest.raises(AttributeError, match="set_wrapper first"):
                getattr(callback, hook)()
        else:
            assert getattr(callback, hook)() is None
    assert callback.state_dict() == {}
