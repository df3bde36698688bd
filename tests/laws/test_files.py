"""Every wrapper survives a file after every callback that alters rates or edges (spec 13.2, 15)."""

from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam

from tests.physics.test_inference_heatmaps import make_wrapper
from tests.physics.test_inference_heatmaps import passives as map_passives
from tests.unit.wrapper.common import notebook_volume, passives
from tomopt_tasks.callbacks.ladle import BatchLoss
from tomopt_tasks.callbacks.schedules import OneCycle, SigmoidPanelSmoothnessSchedule
from tomopt_tasks.callbacks.warmup import OptConfig
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.losses.spread import calibrated_mse
from tomopt_tasks.wrapper.family import ArbVolumeWrapper, PanelVolumeWrapper

INFERRER = partial(PocaZLadleFurnaceFillLevelInferrer, smooth=1.0)


def panels():
    opts = {"xy_pos_opt": Adam, "z_pos_opt": partial(SGD, momentum=0.9), "xy_span_opt": Adam}
    rated = {name: partial(opt, lr=1e-3) for name, opt in (opts | {"budget_opt": Adam}).items()}
    return PanelVolumeWrapper(notebook_volume(6.0), partial_volume_inferrer=INFERRER, **rated)


def arbitrary():
    volume = notebook_volume(6.0)
    heights = [panel.z for layer in volume.get_detectors() for panel in layer.panels]
    opts = {
        "z_pos_opt": SGD(heights, lr=1e-3, momentum=0.5),
        "mine": Adam([volume.budget_weights], lr=0.1),
    }
    return ArbVolumeWrapper(volume, opts=opts, partial_volume_inferrer=INFERRER)


WRAPPERS = {"panels": panels, "heat maps": make_wrapper, "any optimisers": arbitrary}
CALLBACKS = {
    "search of rates": lambda: OptConfig(1, {"z_pos_opt": 0.01}),
    "one cycle": lambda: OneCycle("z_pos_opt", 1, 1e-3, 0.9, 5e-3, 0.8, 1e-4, 0.95),
    "edges": lambda: SigmoidPanelSmoothnessSchedule((1.0, 0.25)),
}
CASES = [(w, c) for w in WRAPPERS for c in CALLBACKS if (w, c) != ("heat maps", "edges")]


def fit(wrapper, kind, folder, cbs=()):
    if kind == "heat maps":
        wrapper.fit(2, 2, 100, 100, map_passives(), None, list(cbs), folder)
    else:
        cbs = [BatchLoss(calibrated_mse), *cbs]
        wrapper.fit(2, 6, 60, 60, passives(), None, cbs, folder)


def everything(wrapper):
    """All numbers of the detector (the object is not part of it) and of its optimisers."""
    found = {name: value.clone() for name, value in wrapper.volume.state_dict().items()}
    for name, opt in wrapper.opts.items():
        state = opt.state_dict()
        parts = [*enumerate(state["param_groups"]), *state["state"].items()]
        for number, values in parts:
            for key, value in values.items():
                if value is not None:
                    found[f"{name}/{number}/{key}"] = torch.as_tensor(value).clone()
    return found


@pytest.mark.parametrize(("kind", "callback"), CASES, ids=[f"{w}, {c}" for w, c in CASES])
def test_a_file_brings_everything_back_and_the_fit_goes_on_alike(kind, callback, tmp_path):
    wrapper = WRAPPERS[kind]()
    start = everything(wrapper)
    fit(wrapper, kind, tmp_path, [CALLBACKS[callback]()])
    wrapper.save(tmp_path / "w.pt")
    torch.load(tmp_path / "w.pt", weights_only=True)  # no code in it
    fresh = WRAPPERS[kind]()
    fresh.load(tmp_path / "w.pt")
    saved, loaded = everything(wrapper), everything(fresh)
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    changed = "smooth" if callback == "edges" else "z_pos_opt/0/lr"
    assert any(changed in name and not torch.equal(saved[name], start[name]) for name in start)
    for each in (wrapper, fresh):
        fit(each, kind, tmp_path)
    after, loaded_after = everything(wrapper), everything(fresh)
    assert all(torch.equal(after[name], loaded_after[name]) for name in after)
    assert not all(torch.equal(after[name], saved[name]) for name in saved)
