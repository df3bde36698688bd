"""A study of what a notebook has built: the same detector, the same predictions, the same fit."""

from functools import partial

import pytest
import torch

from tests.laws.parts import make_volume
from tests.unit.wrapper.common import notebook_volume, passives
from tomopt_tasks.config.dump import dump_study
from tomopt_tasks.config.load import load_study
from tomopt_tasks.config.study import Study
from tomopt_tasks.core import UserError
from tomopt_tasks.detectors.ladle import get_initial_detector
from tomopt_tasks.inference.ladle import PocaZLadleFurnaceFillLevelInferrer
from tomopt_tasks.inference.scatters import ScatterBatch
from tomopt_tasks.inference.voxels import PanelX0Inferrer
from tomopt_tasks.inference.x0_compat import TomOptX0
from tomopt_tasks.losses.volumes import VolumeMSELoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.muons.beam import PencilBeam
from tomopt_tasks.muons.generators import MuonGenerator2015, MuonGenerator2016
from tomopt_tasks.runs.run import begin, run_all
from tomopt_tasks.store.opening import open_store
from tomopt_tasks.volume.volume import Volume
from tomopt_tasks.wrapper.build import build_volume, build_wrapper
from tomopt_tasks.wrapper.checkpoint import PhaseFit, first_tree
from tomopt_tasks.wrapper.family import ArbVolumeWrapper, PanelVolumeWrapper
from tomopt_tasks.wrapper.optimiser_settings import OPTIMISERS
from tomopt_tasks.wrapper.optimisers import build_optimiser

LADLES = {"kind": "ladle_furnace", "heights": [0.7, 0.9], "per_height": 2}
SMALL = {
    "scenes": dict.fromkeys(("train", "valid", "test"), LADLES),
    "muons": {"per_volume": 50},
    "evaluation": {"bootstrap": 100},
}
VOXELS = {"loss": {"kind": "voxel_x0"}}
PHASES = {"phases": [{"name": "one", "epochs": 1}], "volumes_per_step": 2}


def wrapped(volume, **more):
    """As a notebook would: every parameter with an optimiser of its own."""
    settings = {
        "xy_pos_opt": partial(torch.optim.SGD, lr=1e-4, momentum=0.5),
        "z_pos_opt": partial(torch.optim.Adam, lr=1e-3, betas=(0.8, 0.99)),
        "xy_span_opt": partial(torch.optim.SGD, lr=1e-3),
        "loss_func": VolumeMSELoss(target_budget=None),
        "partial_scatter_inferrer": partial(ScatterBatch, policy="two_each_side"),
        "partial_volume_inferrer": partial(PocaZLadleFurnaceFillLevelInferrer, smooth=0.5),
        "seed": 7,
    }
    return PanelVolumeWrapper(volume, **(settings | more))


def test_the_detector_comes_back_bit_by_bit_and_predicts_the_same():
    volume = notebook_volume()
    with torch.no_grad():
        for number, panel in enumerate(p for la in volume.get_detectors() for p in la.panels):
            panel.xy.add_(torch.tensor([0.01, 0.02]) * number)
    wrapper = wrapped(volume)
    study = Study.from_volume(volume, wrapper, study="mine", **SMALL)
    again = build_volume(study.world, study.detectors["start"])
    for name, value in volume.named_parameters():
        assert torch.equal(dict(again.named_parameters())[name], value), name
    other = build_wrapper(again, study.inference, None, {}, study.fit.seed)
    found = [wrap.predict(passives(), 60, 60) for wrap in (wrapper, other)]
    assert [float(a[0].item()) for a in found[0]] == [float(a[0].item()) for a in found[1]]
    assert (study.study, study.seed, study.constraints.area) == ("mine", 7, None)


def test_a_fit_of_the_study_is_that_of_the_notebook():
    volume = notebook_volume()
    wrapper = wrapped(volume)
    study = Study.from_volume(volume, wrapper, fit=PHASES, **SMALL)
    phase = study.fit.phases[0]
    fit = PhaseFit(
        first_tree(study.world, study.detectors["start"]),
        phase, study.inference, study.loss, study.fit.seed, new=True,
    )  # fmt: skip
    fit.run(passives(), 0, 3, new=True)
    bank = passives()
    wrapper.begin(
        [], trn_passives=bank, val_passives=None, passive_bs=3, n_mu_per_volume=60, mu_bs=60,
        epoch=0,
    )  # fmt: skip
    wrapper.fit_epoch()
    named = dict(fit.wrapper.volume.named_parameters())
    for name, value in volume.named_parameters():
        torch.testing.assert_close(named[name], value, rtol=0, atol=1e-12)


def test_it_runs_and_its_file_is_the_same_study(tmp_path):
    volume = notebook_volume(budget=6.0)
    wrapper = wrapped(volume, budget_opt=partial(torch.optim.SGD, lr=1e-3))
    del wrapper.opts["xy_span_opt"]  # sides are shares of the budget
    study = Study.from_volume(volume, wrapper, fit=PHASES, **SMALL)
    assert study.constraints.area == pytest.approx(6.0)
    assert set(study.fit.optimiser) == {"xy", "z", "side"}
    (tmp_path / "mine.yaml").write_text(dump_study(study))
    assert load_study(tmp_path / "mine.yaml") == study
    with begin(study, open_store(tmp_path / "store")) as run:
        run_all(run)


@pytest.mark.parametrize("kind", OPTIMISERS)
def test_every_optimiser_is_described_and_what_has_none_is_frozen(kind):
    volume = notebook_volume()
    above = [panel.z for panel in volume.get_detectors()[0].panels]
    settings = OPTIMISERS[kind](**({"momentum": 0.25} if kind in ("sgd", "adam") else {}))
    opt = build_optimiser(settings, above, 0.125)
    wrapper = ArbVolumeWrapper(volume, opts={"mine": opt})
    fit = {"phases": [{"name": "one"}], "volumes_per_step": 2}
    study = Study.from_volume(volume, wrapper, fit=fit, **VOXELS, **SMALL)
    found = study.fit.phases[0].optimiser
    assert found == {"z.above": settings.model_copy(update={"rate": 0.125})}
    rules = study.fit.parameters
    assert {rules.xy, rules.side, rules.rule("z", "below")} == {"frozen"}
    assert rules.rule("z", "above") == "free"


def test_source_inference_and_loss_are_told_from_the_wrapper():
    volume = notebook_volume()
    source = MuonGenerator2015.from_volume(volume, fixed_mom=None, energy_range=(1.0, 50.0))
    wrapper = wrapped(
        volume,
        mu_generator=source,
        loss_func=VoxelX0Loss(target_budget=3.0, cost_coef=0.5),
        partial_volume_inferrer=partial(PanelX0Inferrer, method=TomOptX0()),
        partial_scatter_inferrer=partial(ScatterBatch, policy="all_panels"),
    )
    study = Study.from_volume(volume, wrapper, **SMALL)
    assert study.muons.source == source.source
    assert study.muons.per_volume == 50
    assert study.inference.kind == "voxel_x0"
    assert study.inference.method.kind == "tomopt"
    assert study.inference.acceptance == "all_panels"
    assert (study.loss.target_budget, study.loss.cost_coef) == (3.0, 0.5)


def test_a_source_above_a_wider_rectangle_keeps_its_plane():
    volume = notebook_volume()
    source = MuonGenerator2016((-0.25, 1.25), (-0.25, 1.25))
    study = Study.from_volume(volume, wrapped(volume, mu_generator=source), **SMALL)
    assert study.muons.plane.margin == 0.25
    usual = Study.from_volume(volume, wrapped(volume), **SMALL)
    assert usual.muons.plane is None


def a_function(n_muons):
    return MuonGenerator2016((0.0, 1.0), (0.0, 1.0))(n_muons)


class Flat(MuonGenerator2016):
    """A flux of a notebook's own."""

    def flux(self, energy, theta):
        return theta.cos() * theta.sin() + 0.0 * energy


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (PencilBeam((0.5, 0.5)), "PencilBeam"),
        (a_function, "a_function"),
        (lambda n, rng=None: a_function(n), "<lambda>"),
        (Flat((-0.4, 1.4), (-0.4, 1.4)), "Flat"),
    ],
)
def test_muons_that_a_study_cannot_say_are_refused_not_replaced(source, name):
    volume = notebook_volume()
    wrapper = wrapped(volume, mu_generator=source)
    message = f'the muon source {name} has no settings .* only MuonGenerator2015.*muons={{"source"'
    with pytest.raises(UserError, match=message):
        Study.from_volume(volume, wrapper, **SMALL)
    muons = {"per_volume": 50, "source": {"kind": "guan2015", "momentum": 3.0}}
    study = Study.from_volume(volume, wrapper, **(SMALL | {"muons": muons}))
    assert (study.muons.source.kind, study.muons.source.momentum) == ("guan2015", 3.0)


def test_muons_that_start_above_one_side_only_are_refused():
    volume = notebook_volume()
    wrapper = wrapped(volume, mu_generator=MuonGenerator2016((0.0, 0.5), (0.0, 1.0)))
    with pytest.raises(UserError, match=r"x \(0.0, 0.5\) m and y \(0.0, 1.0\) m, but a study"):
        Study.from_volume(volume, wrapper, **SMALL)
    muons = {"per_volume": 50, "plane": {"margin": 0.1}}
    study = Study.from_volume(volume, wrapper, **(SMALL | {"muons": muons}))
    assert study.muons.plane.margin == 0.1


class Other(PanelX0Inferrer):
    """An inferrer that no study knows."""


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"partial_volume_inferrer": Other}, r"inferrer Other has no settings .* inference=\{"),
        ({"loss_func": lambda pred, volume: pred.sum()}, r"the loss function has no settings"),
        (
            {"z_pos_opt": partial(torch.optim.SGD, lr=1.0, weight_decay=0.1)},
            "'z_pos_opt' has weight_decay = 0.1, which a study cannot say",
        ),
        ({"z_pos_opt": partial(torch.optim.Adafactor, lr=1.0)}, "'z_pos_opt' is a Adafactor"),
    ],
)
def test_what_a_study_cannot_say_ends_in_a_sentence(more, message):
    volume = notebook_volume()
    with pytest.raises(UserError, match=message):
        Study.from_volume(volume, wrapped(volume, **more))


def test_heat_maps_are_written_by_hand():
    with pytest.raises(UserError, match=r"above\[0\] is a DetectorHeatMap, but only panels"):
        Study.from_volume(make_volume("DetectorHeatMap"))


def test_what_would_be_no_valid_study_says_where():
    volume = notebook_volume()
    with pytest.raises(UserError, match=r"muons\.per_volume: got 0.*Study\.from_volume"):
        Study.from_volume(volume, wrapped(volume), muons={"per_volume": 0})
    with pytest.raises(UserError, match="the wrapper has another volume"):
        Study.from_volume(volume, wrapped(notebook_volume()))


def test_a_volume_alone_gives_world_and_detector():
    study = Study.from_volume(notebook_volume(budget=6.0))
    assert len(study.detectors["start"].panels) == 8
    assert study.world.passive == pytest.approx((0.4, 1.4))


def test_a_volume_in_single_precision_has_the_numbers_that_were_typed():
    volume = Volume(get_initial_detector())  # its zone above begins at 1.399999976 m
    study = Study.from_volume(volume, None, **SMALL)
    assert study.world.passive == (0.4, 1.4)
    assert study.world.height == 1.8
    layer = study.detectors["start"].layers[0]
    assert (layer.z, layer.panels[0].z, layer.panels[0].span) == (1.8, 1.48, (0.8, 0.8))
