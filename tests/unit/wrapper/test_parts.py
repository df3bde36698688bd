"""Losses and inferrers from their settings."""

from types import SimpleNamespace
from typing import get_args

import pytest
import torch

from tomopt_tasks.config.target_checks import LOSSES, OWN_LOSSES, fill_loss
from tomopt_tasks.inference.edges import STEPS
from tomopt_tasks.inference.learned_settings import LearnedSettings
from tomopt_tasks.inference.settings import InferenceSettings, OwnInferenceSettings
from tomopt_tasks.inference.x0_compat import TomOptX0
from tomopt_tasks.inference.x0_map import UnbiasedX0
from tomopt_tasks.inference.x0_settings import (
    EdgeDetectorSettings,
    Step,
    TomOptX0Settings,
    UnbiasedX0Settings,
    VoxelX0Settings,
)
from tomopt_tasks.losses.ladle import LadleFurnaceIntClassLoss
from tomopt_tasks.losses.settings import (
    LadleLayerLossSettings,
    LossSettings,
    VolumeClassLossSettings,
    VolumeIntClassLossSettings,
    VoxelClassLossSettings,
    VoxelX0LossSettings,
)
from tomopt_tasks.losses.volumes import VolumeClassLoss, VolumeIntClassLoss
from tomopt_tasks.losses.voxels import VoxelClassLoss, VoxelX0Loss
from tomopt_tasks.materials import X0
from tomopt_tasks.volume.settings import World
from tomopt_tasks.wrapper.parts import build_method, volume_loss, x0_inferrer


def kinds(union):
    return {part.model_fields["kind"].default for part in get_args(get_args(union)[0])}


def test_every_inference_has_losses_and_every_loss_an_inference():
    assert {kind.split()[0] for kind in LOSSES} == kinds(InferenceSettings) - {"own"}
    learned = {kind.split()[1] for kind in LOSSES if " " in kind}
    assert learned == set(get_args(LearnedSettings.model_fields["predicts"].annotation))
    assert {loss for losses in LOSSES.values() for loss in losses} == kinds(LossSettings) - {"own"}
    own = get_args(OwnInferenceSettings.model_fields["predicts"].annotation)
    assert set(OWN_LOSSES) == set(own)
    assert {loss for losses in OWN_LOSSES.values() for loss in losses} <= kinds(LossSettings)


def test_the_steps_of_the_settings_are_those_of_the_edge_detector():
    assert set(get_args(Step)) == set(STEPS)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        (VoxelX0LossSettings(), VoxelX0Loss),
        (VolumeClassLossSettings(targets=(0.0, 1.0)), VolumeClassLoss),
        (VoxelClassLossSettings(materials=("lead", "air")), VoxelClassLoss),
        (VolumeIntClassLossSettings(first=0.4, step=0.1), VolumeIntClassLoss),
        (LadleLayerLossSettings(), LadleFurnaceIntClassLoss),
    ],
)
def test_losses_take_their_terms_from_the_settings(settings, kind):
    loss = volume_loss(settings.model_copy(update={"target_budget": 3.0, "cost_coef": 0.5}))
    assert type(loss) is kind
    assert (loss.target_budget, loss.cost_coef, loss.steep_budget) == (3.0, 0.5, True)


def test_integers_are_counted_from_the_first_target_in_steps():
    loss = volume_loss(VolumeIntClassLossSettings(first=0.6, step=0.1))
    targets = torch.tensor([0.6, 0.7, 1.3], dtype=torch.float64)
    assert loss.targ2int(targets, None).tolist() == [0, 1, 7]


def test_classes_are_those_of_the_settings():
    assert volume_loss(VolumeClassLossSettings(targets=(0.2, 0.5, 0.9))).x02id == {
        0.2: 0, 0.5: 1, 0.9: 2
    }  # fmt: skip
    x02id = volume_loss(VoxelClassLossSettings(materials=("lead", "air"))).x02id
    assert x02id == {X0["lead"]: 0, X0["air"]: 1}


def test_the_methods_of_the_settings_are_those_of_the_library():
    settings = UnbiasedX0Settings(weights="plain", share="voxel", prior_muons=3.0, log_term=False)
    assert build_method(settings) == UnbiasedX0(**settings.model_dump())
    assert build_method(UnbiasedX0Settings()) == UnbiasedX0()
    assert isinstance(build_method(TomOptX0Settings()), TomOptX0)
    assert x0_inferrer(VoxelX0Settings(method=settings), fitting=True).keywords["method"].share == (
        "voxel"
    )


def test_the_edge_detector_gives_probabilities_to_a_fit_and_heights_otherwise():
    settings = EdgeDetectorSettings()
    assert x0_inferrer(settings, fitting=True).keywords["output_probs"]
    assert not x0_inferrer(settings, fitting=False).keywords["output_probs"]


def test_errors_of_voxels_are_of_lengths_or_of_densities():
    truth = torch.tensor([[[0.5, 0.25]], [[0.1, 0.01]]], dtype=torch.float64)
    volume = SimpleNamespace(get_rad_cube=lambda: truth)
    by_length = volume_loss(VoxelX0LossSettings(of="x0"))
    by_density = volume_loss(VoxelX0LossSettings(of="density"))
    assert float(by_length(2 * truth, volume)) == pytest.approx(float((truth**2).mean()))
    assert float(by_density(2 * truth, volume)) == pytest.approx(float((0.25 / truth**2).mean()))
    vacuum = SimpleNamespace(get_rad_cube=lambda: torch.full_like(truth, torch.inf))
    assert float(by_density(truth, vacuum)) == pytest.approx(float((1 / truth**2).mean()))


def test_a_loss_of_voxels_follows_what_the_inference_is_judged_by():
    world, density = World(), VoxelX0Settings(error_of="density")
    assert fill_loss(VoxelX0LossSettings(), density, world).of == "density"
    assert fill_loss(VoxelX0LossSettings(), VoxelX0Settings(), world).of == "x0"
    assert fill_loss(VoxelX0LossSettings(of="x0"), density, world).of == "x0"
