"""Losses and inferrers from their settings."""

from typing import get_args

import pytest

from tomopt_tasks.config.target_checks import LOSSES, OWN_LOSSES
from tomopt_tasks.inference.edges import STEPS
from tomopt_tasks.inference.settings import InferenceSettings, OwnInferenceSettings
from tomopt_tasks.inference.x0_settings import EdgeDetectorSettings, Step
from tomopt_tasks.losses.ladle import LadleFurnaceIntClassLoss
from tomopt_tasks.losses.settings import (
    LadleLayerLossSettings,
    LossSettings,
    VolumeClassLossSettings,
    VoxelX0LossSettings,
)
from tomopt_tasks.losses.volumes import VolumeClassLoss
from tomopt_tasks.losses.voxels import VoxelX0Loss
from tomopt_tasks.wrapper.parts import volume_loss, x0_inferrer


def kinds(union):
    return {part.model_fields["kind"].default for part in get_args(get_args(union)[0])}


def test_every_inference_has_losses_and_every_loss_an_inference():
    assert set(LOSSES) == kinds(InferenceSettings) - {"own"}
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
        (LadleLayerLossSettings(), LadleFurnaceIntClassLoss),
    ],
)
def test_losses_take_their_terms_from_the_settings(settings, kind):
    loss = volume_loss(settings.model_copy(update={"target_budget": 3.0, "cost_coef": 0.5}))
    assert type(loss) is kind
    assert (loss.target_budget, loss.cost_coef, loss.steep_budget) == (3.0, 0.5, True)


def test_the_edge_detector_gives_probabilities_to_a_fit_and_heights_otherwise():
    settings = EdgeDetectorSettings()
    assert x0_inferrer(settings, fitting=True).keywords["output_probs"]
    assert not x0_inferrer(settings, fitting=False).keywords["output_probs"]
