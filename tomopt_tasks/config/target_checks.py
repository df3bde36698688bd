"""Whether scenes, inference, loss and evaluation speak of the same quantity."""

from tomopt_tasks.config.problems import Problem
from tomopt_tasks.evaluation.settings import EvaluationSettings
from tomopt_tasks.inference.settings import InferenceSettings, predicts_voxels
from tomopt_tasks.losses.settings import LossSettings
from tomopt_tasks.volume.scene_settings import SceneSettings, has_number
from tomopt_tasks.wrapper.settings import FitSettings

LOSSES = {
    "poca_z_fill_level": ("expected_mse", "spread_range", "volume_mse"),
    "voxel_x0": ("voxel_x0",),
    "dense_block": ("volume_class", "volume_mse", "spread_range"),
    "edge_detector": ("ladle_layer",),
}
"""Kind of inference -> losses that can judge it, the usual one first."""

OWN_LOSSES = {
    "number": ("volume_mse", "spread_range", "volume_class", "expected_mse"),
    "voxels": ("voxel_x0",),
}
"""What an inferrer of the user's own predicts -> losses that can judge it."""


def check_loss(inference: InferenceSettings, loss: LossSettings, fit: FitSettings) -> None:
    """The loss can judge what the inference predicts.

    Raises:
        Problem: at the kind of the loss.
    """
    known = OWN_LOSSES[inference.predicts] if inference.kind == "own" else LOSSES[inference.kind]
    allowed = (*known, "own")
    if fit.phases and loss.kind not in allowed:
        text = f'got "{loss.kind}", which cannot judge inference.kind {inference.kind}; write '
        raise Problem(("loss", "kind"), text + " or ".join(allowed[:-1]))


def check_targets(scene: SceneSettings, inference: InferenceSettings, split: str) -> None:
    """The scene has what the inference predicts.

    Raises:
        Problem: at the kind of the scene.
    """
    path = ("scenes", split, "kind")
    ladle = inference.kind in ("poca_z_fill_level", "edge_detector")
    if ladle and scene.kind not in ("ladle_furnace", "file", "own"):
        text = f'got "{scene.kind}", but inference.kind {inference.kind} predicts fill heights; '
        raise Problem(path, text + "write ladle_furnace or another inference.kind")
    if not predicts_voxels(inference) and not has_number(scene):
        text = f'got "{scene.kind}", which has no one number per volume that {inference.kind} '
        raise Problem(path, text + "could predict; use inference.kind voxel_x0")


def check_correction(inference: InferenceSettings, evaluation: EvaluationSettings) -> None:
    """Voxels are judged as they are.

    Raises:
        Problem: at the correction.
    """
    if predicts_voxels(inference) and evaluation.correction != "none":
        text = f'got "{evaluation.correction}", but radiation lengths of voxels are judged as they '
        raise Problem(("evaluation", "correction"), text + "are; write none or leave it out")
