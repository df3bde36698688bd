"""All callbacks together on the real wrappers, in the documented order."""

import math
from functools import partial

import pytest
import torch
from PIL import Image
from torch import nn
from torch.optim import SGD, Adam

from tests.unit.callbacks.toy import real_volume
from tests.unit.wrapper.common import notebook_volume, passives, scene_yielder
from tomopt_tasks.callbacks.detector import PanelUpdateLimiter
from tomopt_tasks.callbacks.gradients import NoMoreNaNs
from tomopt_tasks.callbacks.heatmap_gif import HeatMapGif, response_map
from tomopt_tasks.callbacks.ladle import LinearCorrectionCallback, SpreadRangeLoss
from tomopt_tasks.callbacks.monitors import PanelMetricLogger
from tomopt_tasks.callbacks.nonfinite import GradientRecord
from tomopt_tasks.callbacks.predictions import PredHandler, VolumeTargetPredHandler
from tomopt_tasks.callbacks.records import HitRecord, ScatterRecord
from tomopt_tasks.callbacks.resampler import MuonResampler
from tomopt_tasks.callbacks.saving import EpochSave
from tomopt_tasks.callbacks.schedules import OneCycle, SigmoidPanelSmoothnessSchedule
from tomopt_tasks.callbacks.stopping import BestKeeper, DivergenceGuard, EarlyStopping
from tomopt_tasks.callbacks.warmup import OptConfig
from tomopt_tasks.detectors.heatmap import DetectorHeatMap
from tomopt_tasks.detectors.layer import PanelDetectorLayer
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.plotting.heatmap import plot_heatmap
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.family import HeatMapVolumeWrapper, PanelVolumeWrapper

INFERRER = partial(PocaZLadleFurnaceFillLevelInferrer, smooth=1.0)


def panel_wrapper():
    return PanelVolumeWrapper(
        notebook_volume(),
        xy_pos_opt=partial(SGD, lr=1.0),
        z_pos_opt=partial(SGD, lr=1.0),
        xy_span_opt=partial(Adam, lr=1e-3),
        partial_volume_inferrer=INFERRER,
        loss_func=VolumeMSELoss(target_budget=None),
    )


def everything():
    return {
        "rates": OptConfig(1, {"xy_pos_opt": 0.01, "z_pos_opt": 0.005}),
        "aim": MuonResampler(),
        "line": LinearCorrectionCallback(),
        "loss": SpreadRangeLoss(),
        "guard": DivergenceGuard(),
        "gradients": GradientRecord(),
        "nans": NoMoreNaNs(),
        "limits": PanelUpdateLimiter(0.02, 0.02, 0.02),
        "cycle": OneCycle("xy_span_opt", 1, 1e-3, 0.9, 1e-2, 0.8, 1e-4),
        "smooth": SigmoidPanelSmoothnessSchedule((1.0, 0.2)),
        "stop": EarlyStopping(5),
        "best": BestKeeper(),
        "save": EpochSave(),
        "hits": HitRecord(),
        "scatters": ScatterRecord(),
        "log": PanelMetricLogger(gif_filename=None, show_plots=False, report=lambda line: None),
    }


@pytest.mark.parametrize("banked", [True, False])
def test_all_callbacks_work_together_on_a_real_detector(tmp_path, banked):
    wrapper, cbs = panel_wrapper(), everything()
    volumes = passives() if banked else scene_yielder(6)
    valid, batch = (volumes, 60) if banked else (None, 20)
    wrapper.fit(3, 6, batch, batch, volumes, valid, list(cbs.values()), tmp_path)
    assert cbs["gradients"].n_nonfinite == 0
    assert cbs["nans"].n_zeroed == 0
    assert cbs["guard"].reason is None
    # one search, then init to mid to final in two epochs of one step
    assert wrapper.get_opt_lr("xy_span_opt") == 1e-4
    losses, _ = cbs["log"].get_loss_history()
    assert [len(losses["Training"]), len(losses["Validation"])] == [3, 3 * banked]
    assert all(math.isfinite(value) for value in (*losses["Training"], *losses["Validation"]))
    assert cbs["hits"].get_record().shape[1:] == (8, 3)
    assert cbs["scatters"].get_record().shape[1] == 3
    assert (tmp_path / "volume_state_3.pt").exists()
    panel = wrapper.volume.get_detectors()[0].panels[0]
    assert float(panel.smooth) == pytest.approx(0.2)
    fresh = panel_wrapper()
    fresh.load(tmp_path / "volume_state_3.pt")
    cbs["log"].plot().canvas.draw()
    for callback in cbs.values():  # checkpoints hold no code
        torch.save(callback.state_dict(), tmp_path / "state.pt")
        torch.load(tmp_path / "state.pt", weights_only=True)


def test_predictions_of_a_real_detector_come_with_both_kinds_of_truth(tmp_path):
    wrapper = panel_wrapper()
    volumes = passives()
    cubes = wrapper.predict(volumes, 60, 60, PredHandler())
    targets = wrapper.predict(volumes, 60, 60, VolumeTargetPredHandler())
    assert [float(t[0]) for _, t in targets] == pytest.approx(volumes.target.tolist())
    assert cubes[0][1].shape == volumes.x0.shape[1:]
    assert [float(p[0]) for p, _ in cubes] == [float(p[0]) for p, _ in targets]


def heat_map(pos, z):
    return DetectorHeatMap(
        res=1e3, eff=0.9, init_xyz=(0.5, 0.5, z), init_xy_span=(-0.5, 0.5), n_cluster=5
    )


def test_heat_maps_can_be_fitted_filmed_and_drawn(tmp_path):
    lw = torch.ones(2)
    passive = list(real_volume().get_passives())
    above = [heat_map("above", z) for z in (1.9, 1.5)]
    below = [heat_map("below", z) for z in (0.15, 0.05)]
    layers = [
        PanelDetectorLayer("above", lw=lw, z=2.0, size=0.8, panels=above),
        *passive,
        PanelDetectorLayer("below", lw=lw, z=0.2, size=0.2, panels=below),
    ]
    volume = Volume(nn.ModuleList(layers)).double()
    rate = partial(SGD, lr=1e-6)
    wrapper = HeatMapVolumeWrapper(
        volume, mu_opt=rate, norm_opt=rate, sig_opt=rate, z_pos_opt=rate,
        loss_func=VolumeMSELoss(target_budget=None), partial_volume_inferrer=INFERRER,
    )  # fmt: skip
    uniform = [(torch.full((5, 5, 5), 0.1).double(), torch.ones(1).double())] * 2
    log = PanelMetricLogger(gif_filename=None, report=lambda line: None)
    cbs = [MuonResampler(), GradientRecord(), HeatMapGif(gif_length=1.0), log]
    wrapper.fit(1, 2, 40, 40, uniform, None, cbs, tmp_path)
    with Image.open(tmp_path / "heatmap.gif") as film:
        assert film.n_frames >= 1
    assert cbs[1].n_nonfinite == 0
    assert {name.partition(".")[2] for name in cbs[1].norms} >= {"gmm.mu", "gmm.sig", "z"}
    found = response_map(above[0], n_points=41)
    assert found["extent"] == [-1.5, 2.5, -1.5, 2.5]
    assert float(found["values"].max()) > 0.5
    plot_heatmap(above[0]).canvas.draw()
    log.plot().canvas.draw()
