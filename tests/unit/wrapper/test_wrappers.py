"""Wrappers: optimisers, files, predictions, and equality of one volume and many at a time."""

import pickle
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim import SGD, Adam, RMSprop

from tests.unit.wrapper.common import notebook_volume, passives, scene_yielder
from tomopt_tasks.callbacks.base import Callback
from tomopt_tasks.callbacks.ladle import BatchLoss
from tomopt_tasks.callbacks.predictions import VolumeTargetPredHandler
from tomopt_tasks.callbacks.warmup import OptConfig
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.losses.spread import calibrated_mse
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.muons.generators import MuonGenerator2016
from tomopt_tasks.wrapper.family import ArbVolumeWrapper, PanelVolumeWrapper
from tomopt_tasks.wrapper.loop import VolumeLoop
from tomopt_tasks.wrapper.scans import BankedPassives, scans

INFERRER = partial(PocaZLadleFurnaceFillLevelInferrer, smooth=1.0)
BUDGET = 6.0


def _panel_wrapper(seed: int = 4, lr: float = 1e-3, **kwargs) -> PanelVolumeWrapper:
    return PanelVolumeWrapper(
        notebook_volume(BUDGET),
        xy_pos_opt=partial(Adam, lr=lr),
        z_pos_opt=partial(SGD, lr=lr, momentum=0.9),
        xy_span_opt=partial(RMSprop, lr=lr),
        budget_opt=partial(Adam, lr=lr),
        partial_volume_inferrer=INFERRER,
        seed=seed,
        **kwargs,
    )


def _train(wrapper, n_epochs: int, path: Path, cbs=None) -> None:
    cbs = [BatchLoss(calibrated_mse), *(cbs or [])]
    wrapper.fit(n_epochs, 6, 60, 60, passives(), None, cbs, path)


def test_a_panel_wrapper_names_its_optimisers_after_its_arguments():
    wrapper = _panel_wrapper()
    assert set(wrapper.opts) == {"xy_pos_opt", "z_pos_opt", "xy_span_opt", "budget_opt"}
    assert len(wrapper.opts["xy_pos_opt"].param_groups[0]["params"]) == 8
    assert wrapper.get_param_count() == 8 * (2 + 1 + 2) + 8


def test_rates_and_momenta_are_read_and_set_as_plain_floats():
    """D-13, D-55: also where the optimiser has betas; a clear error where it has neither."""
    wrapper = _panel_wrapper()
    wrapper.set_opt_lr(torch.tensor(0.25, dtype=torch.float64).numpy()[()], "xy_pos_opt")
    assert type(wrapper.opts["xy_pos_opt"].param_groups[0]["lr"]) is float
    assert wrapper.get_opt_lr("xy_pos_opt") == 0.25
    wrapper.set_opt_mom(0.5, "xy_pos_opt")
    assert wrapper.opts["xy_pos_opt"].param_groups[0]["betas"] == (0.5, 0.999)
    wrapper.set_opt_mom(0.4, "z_pos_opt")
    assert wrapper.get_opt_mom("z_pos_opt") == 0.4
    adagrad = torch.optim.Adagrad([wrapper.volume.budget_weights])
    arbitrary = ArbVolumeWrapper(wrapper.volume, opts={"a": adagrad})
    with pytest.raises(KeyError, match="neither betas nor a momentum"):
        arbitrary.get_opt_mom("a")


def test_d13_a_file_written_after_a_search_of_rates_loads_without_code(tmp_path):
    wrapper = _panel_wrapper()
    _train(wrapper, 1, tmp_path, [OptConfig(1, {"xy_pos_opt": 0.01, "budget_opt": 0.1})])
    wrapper.save(tmp_path / "w.pt")
    loaded = torch.load(tmp_path / "w.pt", weights_only=True)
    assert loaded["xy_pos_opt"]["param_groups"][0]["lr"] == wrapper.get_opt_lr("xy_pos_opt")


def test_d14_every_optimiser_is_restored_whatever_its_name(tmp_path):
    def build() -> ArbVolumeWrapper:
        volume = notebook_volume(BUDGET)
        upper = [panel.xy for panel in volume.get_detectors()[0].panels]
        opts = {
            "xy_pos_upper": Adam(upper, lr=1e-2),
            "budget": SGD([volume.budget_weights], lr=0.1),
        }
        return ArbVolumeWrapper(volume, opts=opts, partial_volume_inferrer=INFERRER, seed=4)

    straight = build()
    _train(straight, 2, tmp_path)
    straight.save(tmp_path / "w.pt")
    resumed = build()
    resumed.load(tmp_path / "w.pt")
    _train(straight, 1, tmp_path)
    _train(resumed, 1, tmp_path)
    for (name, ours), theirs in zip(
        resumed.volume.named_parameters(), straight.volume.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_a_file_of_other_optimisers_is_refused(tmp_path):
    wrapper = _panel_wrapper()
    wrapper.save(tmp_path / "w.pt")
    other = ArbVolumeWrapper(notebook_volume(BUDGET), opts={})
    with pytest.raises(ValueError, match="build the wrapper with the optimisers"):
        other.load(tmp_path / "w.pt")


def test_a_file_of_another_detector_is_refused_and_changes_nothing(tmp_path):
    """torch would load what fits, and only then say that the rest does not."""
    saved = _panel_wrapper()
    with torch.no_grad():
        saved.volume[0].panels[0].xy += 0.1
    saved.save(tmp_path / "w.pt")
    fewer = notebook_volume(BUDGET)
    fewer[0].panels = fewer[0].panels[:-1]
    before = {name: value.clone() for name, value in fewer.state_dict().items()}
    names = ("xy_pos_opt", "z_pos_opt", "xy_span_opt", "budget_opt")
    opts = {name: SGD([fewer[0].panels[0].xy], lr=1.0) for name in names}
    other = ArbVolumeWrapper(fewer, opts=opts)
    with pytest.raises(ValueError, match=r"w\.pt holds another detector: layers\.0\.panels\.3"):
        other.load(tmp_path / "w.pt")
    same = ArbVolumeWrapper(notebook_volume(BUDGET), opts=opts)
    with pytest.raises(ValueError, match=r"the optimiser 'xy_pos_opt' moved \[8\] tensors"):
        same.load(tmp_path / "w.pt")
    assert all(torch.equal(value, before[name]) for name, value in fewer.state_dict().items())
    assert torch.equal(same.volume[0].panels[0].xy, notebook_volume(BUDGET)[0].panels[0].xy)


def test_a_source_that_takes_no_rng_is_asked_for_a_number_of_muons():
    volume, asked = notebook_volume(BUDGET), []

    def source(n_muons):
        asked.append(n_muons)
        return MuonGenerator2016.from_volume(volume)(n_muons)

    wrapper = ArbVolumeWrapper(
        volume, opts={}, mu_generator=source, partial_volume_inferrer=INFERRER
    )
    found = wrapper.predict(scene_yielder(1), 50, 30, VolumeTargetPredHandler())
    assert len(found) == 1
    assert asked == [30, 20]


def test_d15_budget_shares_act_on_the_panels_right_after_loading(tmp_path):
    wrapper = _panel_wrapper()
    with torch.no_grad():
        wrapper.volume.budget_weights[0] += 1.0
    wrapper.save(tmp_path / "w.pt")
    fresh = _panel_wrapper()
    fresh.load(tmp_path / "w.pt")
    shares = torch.softmax(wrapper.volume.budget_weights, 0) * BUDGET
    areas = [p.get_cost() for layer in fresh.get_detectors() for p in layer.panels]
    torch.testing.assert_close(torch.cat(areas), shares)


def test_d44_a_file_with_code_in_it_is_never_executed(tmp_path):
    class Planted:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "executed",))

    with (tmp_path / "w.pt").open("wb") as file:
        pickle.dump({"volume": Planted()}, file)
    with pytest.raises(Exception, match=r"[Ww]eights|Unsupported"):
        _panel_wrapper().load(tmp_path / "w.pt")
    assert not (tmp_path / "executed").exists()


def test_from_save_builds_a_wrapper_with_the_saved_detector(tmp_path):
    wrapper = _panel_wrapper()
    _train(wrapper, 1, tmp_path)
    wrapper.save(tmp_path / "w.pt")
    again = PanelVolumeWrapper.from_save(
        tmp_path / "w.pt",
        volume=notebook_volume(BUDGET),
        xy_pos_opt=partial(Adam, lr=1.0),
        z_pos_opt=partial(SGD, lr=1.0, momentum=0.9),
        xy_span_opt=partial(RMSprop, lr=1.0),
        budget_opt=partial(Adam, lr=1.0),
        loss_func=None,
    )
    assert again.get_opt_lr("z_pos_opt") == wrapper.get_opt_lr("z_pos_opt")
    for ours, theirs in zip(again.volume.parameters(), wrapper.volume.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_many_volumes_at_once_give_what_each_gives_alone():
    """The flat scan changes no bit: noise belongs to the volume, sums to its own row."""
    bank = passives()
    wrapper = _panel_wrapper(loss_func=None)
    together = wrapper.predict(bank, 60, 60, pred_cb=_Collect())
    alone = []
    for i in range(len(bank)):
        one = slice(i, i + 1)
        part = BankedPassives(bank.x0[one], bank.target[one], bank.state[one], first=i)
        alone += wrapper.predict(part, 60, 60, pred_cb=_Collect())
    torch.testing.assert_close(torch.stack(together), torch.stack(alone), rtol=1e-13, atol=0)


def test_equal_seeds_give_equal_fits_and_other_seeds_do_not(tmp_path):
    fits = []
    for seed in (4, 4, 5):
        wrapper = _panel_wrapper(seed)
        _train(wrapper, 2, tmp_path)
        fits.append(torch.cat([p.detach().flatten() for p in wrapper.volume.parameters()]))
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


def test_notebook_volumes_train_through_the_same_loop(tmp_path):
    """One loop: ``fit`` and the pipeline's epochs run the one ``fit_epoch`` of the loop."""
    wrapper = _panel_wrapper(loss_func=VolumeMSELoss(target_budget=None))
    before = [p.detach().clone() for p in wrapper.volume.parameters()]
    wrapper.fit(1, 2, 40, 20, scene_yielder(4), None, [], tmp_path)
    after = list(wrapper.volume.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert type(wrapper).fit_epoch is VolumeLoop.fit_epoch


def test_no_other_function_steps_an_optimiser():
    """A second loop over optimisers would be a second fit."""
    package = Path(__file__).parents[3] / "tomopt_tasks"
    stepping = [
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ".step()" in path.read_text() or ".backward(" in path.read_text()
    ]
    assert stepping == ["wrapper/loop.py"]


def test_scans_never_cross_the_end_of_a_batch():
    bank = passives()
    assert [len(scan) for scan in scans(bank, 4)] == [4, 2]
    assert [len(scan) for scan in scans(scene_yielder(5), 4)] == [1] * 5


class _Collect(Callback):
    """A prediction handler that keeps tensors."""

    def __init__(self) -> None:
        self.preds: list[torch.Tensor] = []

    def on_x0_pred_end(self) -> None:
        pred = self.fit_params.pred
        self.preds.append(torch.full((1,), torch.nan) if pred is None else pred)

    def get_preds(self) -> list[torch.Tensor]:
        return self.preds
