"""The order of hooks is that of spec 8.4, for one volume at a time and for scans of several."""

import pytest
import torch
from torch.optim import SGD

from tests.unit.wrapper.common import HookRecord, notebook_volume, passives, scene_yielder
from tomopt_tasks.callbacks.base import Callback, FitParams
from tomopt_tasks.callbacks.ladle import BatchLoss
from tomopt_tasks.callbacks.warmup import WarmupCallback
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.losses.spread import calibrated_mse
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.wrapper.family import PanelVolumeWrapper

MUONS = ["on_mu_batch_begin", "on_scatter_end", "on_mu_batch_end"]
PREDICTION = ["on_x0_pred_begin", "on_x0_pred_end", "on_volume_end"]
DEFAULTS = [
    "volume_inferrer", "state", "pred", "n_mu_per_volume", "mu_bs", "mu", "cbs", "sb", "loss_val",
    "volume_id", "cb_savepath", "trn_passives", "val_passives", "tst_passives", "passive_bs",
    "mean_loss", "n_epochs", "epoch_bar", "stop", "cyclic_cbs", "warmup_cbs", "metric_log",
    "metric_cbs", "passive_bar",
]  # fmt: skip
UPDATE = ["on_backwards_begin", "on_backwards_end", "on_step_end"]


def _wrapper() -> PanelVolumeWrapper:
    return PanelVolumeWrapper(
        notebook_volume(),
        xy_pos_opt=lambda p: SGD(p, lr=1e-3),
        z_pos_opt=lambda p: SGD(p, lr=1e-3),
        xy_span_opt=lambda p: SGD(p, lr=1e-3),
        loss_func=VolumeMSELoss(target_budget=None),
        partial_volume_inferrer=PocaZLadleFurnaceFillLevelInferrer,
        seed=4,
    )


def _volumes(n: int, n_muon_batches: int) -> list[str]:
    return (["on_volume_begin"] + MUONS * n_muon_batches + PREDICTION) * n


def _fit(record: Callback, tmp_path, **kwargs) -> PanelVolumeWrapper:
    wrapper = _wrapper()
    defaults = {"n_epochs": 1, "passive_bs": 2, "n_mu_per_volume": 40, "mu_bs": 20}
    cbs = kwargs.pop("cbs", [record])
    wrapper.fit(
        **(defaults | kwargs.pop("sizes", {})),
        trn_passives=scene_yielder(kwargs.pop("n_train", 4)),
        val_passives=kwargs.pop("val", None),
        cbs=cbs,
        cb_savepath=tmp_path,
    )
    return wrapper


def test_what_is_not_given_is_none_and_any_keyword_is_kept():
    """Spec 8.1: ``cbs`` was an empty tuple."""
    empty = FitParams()
    assert {name: getattr(empty, name) for name in DEFAULTS} == dict.fromkeys(DEFAULTS)
    assert (empty.epoch, empty.skip_opt_step) == (0, False)
    assert FitParams(mine=3).mine == 3
    wrapper = _wrapper()
    wrapper.hook("on_train_begin")  # nobody listens yet


def test_a_fit_without_validation_fires_the_hooks_of_the_spec(tmp_path):
    record = HookRecord()
    _fit(record, tmp_path)
    batch = ["on_volume_batch_begin", *_volumes(2, 2), "on_volume_batch_end", *UPDATE]
    expected = ["on_train_begin", "on_epoch_begin", *batch, *batch, "on_epoch_end", "on_train_end"]
    assert record.names() == expected


def test_validation_fires_no_update_and_sees_every_volume(tmp_path):
    record = HookRecord()
    _fit(record, tmp_path, val=scene_yielder(3), n_train=2)
    valid = [name for name, state, _ in record.fired if state == "valid"]
    short = ["on_volume_batch_begin", *_volumes(1, 2), "on_volume_batch_end"]
    full = ["on_volume_batch_begin", *_volumes(2, 2), "on_volume_batch_end"]
    # on_train_end fires in the state of the last epoch
    assert valid == ["on_epoch_begin", *full, *short, "on_epoch_end", "on_train_end"]


def test_d64_an_incomplete_batch_and_a_short_batch_of_muons_are_used(tmp_path):
    record = HookRecord()
    _fit(record, tmp_path, n_train=3, sizes={"n_mu_per_volume": 50, "mu_bs": 20})
    assert record.names().count("on_step_end") == 2
    assert record.names().count("on_mu_batch_begin") == 3 * 3


def test_several_volumes_a_scan_fire_the_muon_hooks_once(tmp_path):
    record = HookRecord()
    wrapper = _wrapper()
    bank = passives()
    wrapper.begin([BatchLoss(calibrated_mse), record], trn_passives=bank, passive_bs=3)
    wrapper.hook("on_train_begin")
    wrapper.fit_epoch()
    batch = [
        "on_volume_batch_begin",
        *["on_volume_begin"] * 3,
        *MUONS,
        *PREDICTION * 3,
        "on_volume_batch_end",
        *UPDATE,
    ]
    assert record.names() == ["on_train_begin", "on_epoch_begin", *batch, *batch, "on_epoch_end"]
    ids = [volume for name, _, volume in record.fired if name == "on_x0_pred_end"]
    assert ids == [0, 1, 2, 3, 4, 5]


def test_scans_of_several_volumes_end_with_a_short_batch_and_validate_without_updates():
    record = HookRecord()
    wrapper = _wrapper()
    wrapper.begin(
        [BatchLoss(calibrated_mse), record],
        trn_passives=passives(),
        val_passives=passives(),
        passive_bs=4,
    )
    wrapper.fit_epoch()

    def batch(n: int) -> list[str]:
        volumes = [*["on_volume_begin"] * n, *MUONS, *PREDICTION * n]
        return ["on_volume_batch_begin", *volumes, "on_volume_batch_end"]

    train = ["on_epoch_begin", *batch(4), *UPDATE, *batch(2), *UPDATE, "on_epoch_end"]
    valid = ["on_epoch_begin", *batch(4), *batch(2), "on_epoch_end"]
    assert record.names() == [*train, *valid]


def test_a_prediction_of_several_volumes_a_scan_fires_the_muon_hooks_once(tmp_path):
    record = HookRecord()
    bank = passives()
    n_muons = bank.state.shape[1]
    _wrapper().predict(bank, n_muons, n_muons, cbs=[record], cb_savepath=tmp_path)
    volumes = [*["on_volume_begin"] * 6, *MUONS, *PREDICTION * 6]
    assert record.names() == ["on_pred_begin", *volumes, "on_pred_end"]
    ids = [volume for name, _, volume in record.fired if name == "on_volume_end"]
    assert ids == [0, 1, 2, 3, 4, 5]


def test_a_prediction_fires_no_epoch_and_no_batch(tmp_path):
    record = HookRecord()
    _wrapper().predict(scene_yielder(2), 40, 20, cbs=[record], cb_savepath=tmp_path)
    assert record.names() == ["on_pred_begin", *_volumes(2, 2), "on_pred_end"]


def test_warm_up_skips_steps_and_leaves_every_parameter_alone(tmp_path):
    record = HookRecord()
    wrapper = _wrapper()
    before = {name: p.detach().clone() for name, p in wrapper.volume.named_parameters()}
    wrapper.fit(2, 2, 40, 20, scene_yielder(4), None, [WarmupCallback(2), record], tmp_path)
    for name, parameter in wrapper.volume.named_parameters():
        assert torch.equal(parameter, before[name]), name
    assert record.names().count("on_step_end") == 4


def test_an_early_stop_ends_after_the_epoch_and_still_says_goodbye(tmp_path):
    class StopAfterFirst(HookRecord):
        def on_epoch_end(self) -> None:
            self.fit_params.stop = True

    record = StopAfterFirst()
    wrapper = _fit(record, tmp_path, sizes={"n_epochs": 5})
    assert wrapper.fit_params.epoch == 1
    assert record.names()[-1] == "on_train_end"


def test_d58_an_exception_still_fires_on_train_end(tmp_path):
    class Failing(HookRecord):
        def on_volume_end(self) -> None:
            raise RuntimeError("told to fail")

    record = Failing()
    with pytest.raises(RuntimeError, match="told to fail"):
        _fit(record, tmp_path)
    assert record.names()[-1] == "on_train_end"


def test_d58_fit_params_stay_readable_after_the_fit(tmp_path):
    wrapper = _fit(HookRecord(), tmp_path)
    assert wrapper.fit_params.epoch == 1
    assert wrapper.fit_params.mean_loss is not None


def test_mean_loss_is_the_sum_over_the_volumes_of_the_batch(tmp_path):
    class Losses(Callback):
        def __init__(self) -> None:
            self.volumes: list[float] = []
            self.means: list[float] = []
            self.sum = 0.0

        def on_volume_batch_begin(self) -> None:
            self.sum = 0.0

        def on_volume_end(self) -> None:
            self.volumes.append(float(self.fit_params.loss_val.detach()) - self.sum)
            self.sum = float(self.fit_params.loss_val.detach())

        def on_volume_batch_end(self) -> None:
            self.means.append(float(self.fit_params.mean_loss.detach()))

    record = Losses()
    _fit(record, tmp_path, n_train=3)
    expected = [sum(record.volumes[:2]) / 2, record.volumes[2]]
    assert record.means == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"passive_bs": 9}, "passive_bs = 9 is larger than the number of volumes"),
        ({"mu_bs": 99}, "mu_bs = 99 is larger than n_mu_per_volume"),
        ({"n_epochs": 0}, "n_epochs = 0"),
    ],
)
def test_d11_sizes_that_cannot_work_are_refused(sizes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        _fit(HookRecord(), tmp_path, sizes=sizes)
